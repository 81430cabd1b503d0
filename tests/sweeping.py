"""A run of tests leaves nothing behind: what it did leave fails it, and what a killed one left goes before the next begins.

Everything that Nexus makes on an engine carries the path of its repository, and a test's repository lies in the folder that pytest
made for the run: that tells what is a test's, and which run's. An engine may have other users.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from nexus.models.instances import LABEL_REPOSITORY
from tests.engine.fixtures import address_of_engine
from tests.engine.raw import RawEngine
from tests.tidying import is_running, processes_of


@dataclass(frozen=True)
class Thing:
    """Something on an engine that belongs to a repository."""

    kind: str
    name: str
    repository: Path

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.repository}"


class Sweep:
    """The first and the last that a run does. Registered where tests are handed out, not where workers run them.

    Args:
        seconds: How long what the last test ended may take to be gone.
    """

    def __init__(self, seconds: float = 20.0) -> None:
        self._seconds = seconds
        self._left: list[str] = []

    def pytest_sessionstart(self) -> None:
        remove(lambda thing: is_over(run_of(thing.repository)))
        remove_images(lambda repository: is_over(run_of(repository)))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        factory = vars(session.config)[
            "_tmp_path_factory"
        ]  # what tests have as a fixture, which workers' folders are in
        assert isinstance(factory, pytest.TempPathFactory)
        folder = factory.getbasetemp().resolve()
        self._left = left_by(folder, self._seconds)
        for pid in processes_of(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        remove(lambda thing: thing.repository.is_relative_to(folder))
        if self._left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left:
            terminalreporter.section("left behind by these tests", red=True, bold=True)
            for line in self._left:
                terminalreporter.write_line(line)


def left_by(folder: Path, seconds: float) -> list[str]:
    """Return what runs in a folder or for it, on this machine and on its engine, in words; what is just ending is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = [f"process {pid}: {_command(pid)}" for pid in processes_of(folder)]
        # Networks are removed and not told: an engine goes on with those that killed processes had asked for, whenever it is done.
        found += [
            str(thing) for thing in things() if thing.kind != "network" and thing.repository.is_relative_to(folder)
        ]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def things() -> Iterator[Thing]:
    """Give what the engine has for repositories, whoever's they are: containers first, since they hold the others."""
    address = address_of_engine()
    if address is None:
        return
    raw = RawEngine(address)
    for kind, names in raw.labelled(LABEL_REPOSITORY).items():
        for name in names:
            status, described = raw.call("GET", f"/{kind}/{name}{'/json' if kind == 'containers' else ''}")
            if status == 200:  # nobody removed it meanwhile
                labels = described["Config"]["Labels"] if kind == "containers" else described["Labels"]
                yield Thing(kind.removesuffix("s"), name, Path(labels[LABEL_REPOSITORY]))


def remove(wanted: Callable[[Thing], bool]) -> None:
    """Remove from the engine all that is wanted."""
    address = address_of_engine()
    for thing in [each for each in things() if wanted(each)]:
        assert address is not None
        query = "?force=1&v=1" if thing.kind == "container" else ""
        RawEngine(address).call("DELETE", f"/{thing.kind}s/{thing.name}{query}")


def remove_images(wanted: Callable[[Path], bool]) -> None:
    """Remove the images that hold files of a wanted repository's containers."""
    address = address_of_engine()
    if address is None:
        return
    raw = RawEngine(address)
    for image in raw.get("/images/json?" + urlencode({"filters": json.dumps({"label": [LABEL_REPOSITORY]})})):
        if wanted(Path(image["Labels"][LABEL_REPOSITORY])):
            for name in image["RepoTags"] or [image["Id"]]:
                raw.call("DELETE", f"/images/{quote(name, safe=':/')}")


def run_of(repository: Path) -> Path | None:
    """Return the folder of the run of pytest that a repository was made by; ``None`` for a repository that is no test's."""
    for folder in repository.parents:
        if re.fullmatch(r"pytest-\d+", folder.name) and folder.parent.name.startswith("pytest-of-"):
            return folder
    return None


def is_over(run: Path | None) -> bool:
    """Return whether a run has ended, or was killed: pytest keeps its process's number in a file as long as it goes on."""
    if run is None:
        return False
    try:
        return not is_running(int((run / ".lock").read_text()))
    except (OSError, ValueError):
        return True


def _command(pid: int) -> str:
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ").strip()
    return "ended meanwhile"
