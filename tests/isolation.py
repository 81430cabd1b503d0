"""The account that a test process believes it runs as: a home and a runtime folder of its own, from its first test to its last.

A test that forgets the ``home`` fixture shares this one with others that do; nothing reaches the real one. The folder's path is
short, because a Unix socket below it may have 107 bytes in all, and pytest's own folders are deep.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.sweeping import left_by
from tests.tidying import is_running

# Where any process may make files; TMPDIR is somewhere deep as often as not.
_BASE = Path("/tmp")
_PREFIX = "nx-"
_SETTINGS = ("NEXUS_BACKEND", "NEXUS_STATE_DIR", "NEXUS_IMAGE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
# When a commit runs the tests, git names its repository to every git that is started below.
_OF_GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
_numbers = itertools.count(1)


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int: ...


def settle_in(patch: pytest.MonkeyPatch, home: Path, runtime: Path) -> None:
    """Make this process, and all that it starts, take these two for the user's."""
    home.mkdir()
    runtime.mkdir(mode=0o700)
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_DATA_HOME", str(home / "data"))
    patch.setenv("XDG_STATE_HOME", str(home / "state"))
    patch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for name in (*_SETTINGS, *_OF_GIT):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def session_place() -> Iterator[Path]:
    """The folder of this process's home and runtime folders; workers of one run have one each."""
    _forget_the_dead()
    real = Path.home()
    place = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_BASE))
    with pytest.MonkeyPatch.context() as patch:
        # How this machine reaches its packages is no matter of tests.
        for variable, path in (("npm_config_userconfig", ".npmrc"), ("npm_config_cache", ".npm")):
            patch.setenv(variable, os.environ.get(variable, str(real / path)))
        patch.setenv(
            "PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring"
        )  # the user's keychain is no matter of theirs
        settle_in(patch, place / "home", place / "run")
        patch.setattr(os, "fsync", as_if_synced)
        # As a shell starts what it runs in the background, and nohup; what tests start, and signal, would ignore them as well.
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, usual)
        yield place
    left = left_by(place, seconds=20)
    shutil.rmtree(place, ignore_errors=True)
    assert left == [], left


def as_if_synced(file: int | HasFileno) -> None:
    """Take the place of ``os.fsync``: what is no open file is an error, and the disk is not waited for.

    Whether it was asked makes a difference after a power cut, which no test can look at; one workspace's life asks some seventy times.
    """
    os.fstat(file if isinstance(file, int) else file.fileno())


def new_runtime(place: Path) -> Path:
    """Return a path for the runtime folder of one test."""
    return place / f"r{next(_numbers)}"


def _forget_the_dead() -> None:
    """Remove what test processes have left that were killed."""
    for folder in _BASE.glob(f"{_PREFIX}*"):
        made_by = re.fullmatch(rf"{_PREFIX}(\d+)-\w+", folder.name)
        if made_by and folder.stat().st_uid == os.getuid() and not is_running(int(made_by[1])):
            shutil.rmtree(folder, ignore_errors=True)
