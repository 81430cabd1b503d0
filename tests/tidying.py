"""What a failed test leaves running is ended, so that it makes no other test fail. One that passes has to clean up by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from nexus.models.instances import LABEL_REPOSITORY
from tests.engine.fixtures import address_of_engine
from tests.engine.raw import RawEngine

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def tidy(node: pytest.Item, folder: Path, runtime: Path) -> None:
    """End what runs in or for the folders of a test that failed: frozen processes and containers too."""
    if not node.stash.get(FAILED, False):
        return
    for pid in (*processes_of(folder), *processes_of(runtime)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    address = address_of_engine()
    if address is not None:
        for repository in folder.glob("**/.git"):
            RawEngine(address).remove_labelled(f"{LABEL_REPOSITORY}={repository.parent}")


def is_running(pid: int) -> bool:
    """Return whether there is such a process, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def processes_of(folder: Path) -> list[int]:
    """Return the processes that work in a folder or name it in their command line; not this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes()
            at = (entry / "cwd").readlink()
            if int(entry.name) != os.getpid() and (os.fsencode(folder) + b"/" in words or at.is_relative_to(folder)):
                found.append(int(entry.name))
    return found
