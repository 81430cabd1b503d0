"""Starting a keeper and waiting until it answers. Blocking; run in a worker thread, under the workspace's lock."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nexus.errors import ProviderError, ProviderUnavailable
from nexus.providers.local.environment import MARK
from nexus.providers.local.keeper.log import NAME as LOG_NAME
from nexus.providers.local.record import Description

TIMEOUT: Final = 15.0
"""Seconds until a keeper that does not answer counts as not started."""

_PROGRAM: Final = Path(__file__).with_name("keeper") / "__main__.py"
_LOADER_VARIABLES: Final = ("LD_LIBRARY_PATH",)
"""What a Python outside the system's folders may need to start at all."""


def missing_interpreter() -> str | None:
    """Return why no keeper could be started by this program, ``None`` when one could."""
    if not sys.executable or not os.access(sys.executable, os.X_OK):
        return "this program does not know its Python interpreter (sys.executable)"
    if not _PROGRAM.is_file():
        return f"{_PROGRAM} is not there"
    return None


def launch(description: Description, folder: Path, socket: Path, env: Mapping[str, str]) -> None:
    """Start the keeper of a workspace, and return once it answers.

    Args:
        description: The workspace.
        folder: Its own folder.
        socket: Where the keeper is to listen; the socket's folder is there and is ours.
        env: This program's own environment.

    Raises:
        ProviderUnavailable: When this program has no interpreter to start it with.
        ProviderError: When the worktree is missing, or the keeper ended or did not answer. It may have to be ended.
    """
    reason = missing_interpreter()
    if reason is not None:
        raise ProviderUnavailable(f"the local backend cannot start programs: {reason}")
    own = {MARK: description.id, "PATH": env.get("PATH", os.defpath)}
    own.update({name: env[name] for name in _LOADER_VARIABLES if name in env})
    ready, ready_end = os.pipe()
    try:
        try:
            started = _start(description, folder, socket, own, ready_end)
        finally:
            os.close(ready_end)
        answer = _answer(ready)
        # What was started has only made the keeper, detached from here, and has ended.
        started.wait(timeout=TIMEOUT)
    except subprocess.TimeoutExpired as exc:
        raise _failed(folder, "it did not detach in time") from exc
    finally:
        os.close(ready)
    if answer != "ready":
        raise _failed(folder, answer or "it ended at once")


def _start(
    description: Description, folder: Path, socket: Path, env: Mapping[str, str], ready: int
) -> subprocess.Popen[bytes]:
    argv = [
        sys.executable,
        "-I",
        "-S",
        "-X",
        "utf8",
        str(_PROGRAM),
        description.id,
        str(folder),
        str(socket),
        str(ready),
    ]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        log = os.open(folder / LOG_NAME, flags, 0o600)
    except OSError as exc:
        raise _failed(folder, exc.strerror or str(exc)) from exc
    try:
        return subprocess.Popen(  # noqa: S603 - our own program, by path
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=description.worktree,
            env=env,
            pass_fds=(ready,),
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError) as exc:
        if description.worktree.is_dir():
            raise _failed(folder, f"{exc.filename}: {exc.strerror}") from exc
        raise ProviderError(
            f"the worktree {description.worktree} is not there",
            hint="restore it with 'git worktree repair', or destroy the workspace",
            details={"path": str(description.worktree)},
        ) from exc
    except OSError as exc:
        raise _failed(folder, exc.strerror or str(exc)) from exc
    finally:
        os.close(log)


def _answer(ready: int) -> str:
    """Return what the keeper says of its start; empty when it ended without a word or says nothing in time."""
    deadline = time.monotonic() + TIMEOUT
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    said = b""
    while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
        part = os.read(ready, 4096)
        if not part:
            break
        said += part
    return said.decode("utf-8", "replace")


def _failed(folder: Path, reason: str) -> ProviderError:
    return ProviderError(f"the workspace's keeper did not start: {reason}", hint=f"its log is {folder / LOG_NAME}")
