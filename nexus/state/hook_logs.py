"""Logs of scripts and hooks: ``.nexus/state/logs/<workspace>/<hook>-<time>.log``, for their owner only, bounded in size and number."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from nexus.models.ids import parse_name
from nexus.state.files import FILE_MODE, open_folder, translated, write_all
from nexus.state.threads import run_whole

KEPT: Final = 10
"""Logs of one hook of one workspace that are kept."""
HEAD: Final = 3 * 1024 * 1024
"""Bytes of a log's beginning that are kept."""
TAIL: Final = 1024 * 1024
"""Bytes of its end that are kept when there are more."""

_FOLDER: Final = ("state", "logs")
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
_NAME: Final = re.compile(r"(?P<hook>[a-z_-]+)-\d{8}T\d{6}\.\d{6}Z(-[0-9a-f]+)?\.log", re.ASCII)


class HookLog:
    """One log that is being written. A full disk loses output; it never stops the script.

    Args:
        path: The file.
        handle: Its descriptor, which :meth:`close` closes.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path: Path = path
        self._handle = handle
        self._room = HEAD
        self._pending = bytearray()
        self._written = 0
        self._tail = bytearray()
        self._left_out = 0
        self._more: anyio.Event | None = None

    def put(self, data: bytes) -> None:
        """Take what comes next: for :meth:`drain`, or for the end when the beginning is full. Never waits."""
        self._pending += data[: self._room]
        self._tail += data[self._room :]
        self._room -= min(self._room, len(data))
        if len(self._tail) > 2 * TAIL:
            self._cut()
        if self._more is not None:
            self._more.set()

    async def drain(self) -> None:
        """Write what was put, all there is at a time, until cancelled.

        Cancellation: what is not written yet is written by :meth:`close`.
        """
        while True:
            self._more = anyio.Event()
            self._drop_written()
            if self._pending:
                await run_whole(partial(self._write, bytes(self._pending)))
            else:
                await self._more.wait()

    async def close(self) -> None:
        """Write what is left and close. Twice is fine."""
        await run_whole(self._close)

    def _write(self, data: bytes) -> None:
        self._append(data)
        # The buffer itself belongs to the loop's thread, which may be adding to it now.
        self._written += len(data)

    def _drop_written(self) -> None:
        del self._pending[: self._written]
        self._written = 0

    def _cut(self) -> None:
        over = len(self._tail) - TAIL
        if over > 0:
            del self._tail[:over]
            self._left_out += over

    def _append(self, data: bytes) -> None:
        with suppress(OSError):
            write_all(self._handle, data)

    def _close(self) -> None:
        if self._handle < 0:
            return
        self._drop_written()
        self._append(bytes(self._pending))
        self._cut()
        if self._left_out:
            self._append(f"\n[nexus: {self._left_out} bytes are left out here]\n".encode())
        self._append(bytes(self._tail))
        os.close(self._handle)
        self._handle = -1


class HookLogs:
    """The logs of one repository's workspaces. The constructor only stores; no folder on the way may be a symbolic link.

    Args:
        root: ``<repository>/.nexus``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def create(self, workspace: str, hook: str) -> HookLog:
        """Begin a log, and remove the oldest ones of the same hook.

        Raises:
            StateError: When it cannot be made.
        """
        return await run_whole(partial(self._create, parse_name(workspace), hook))

    async def remove(self, workspace: str) -> None:
        """Remove a workspace's logs. None there: nothing.

        Raises:
            StateError: When they cannot be removed.
        """
        await run_whole(partial(self._remove, parse_name(workspace)))

    def _create(self, workspace: str, hook: str) -> HookLog:
        path = self._root.joinpath(*_FOLDER, workspace)
        with translated("make a log", path), open_folder(self._root, *_FOLDER, workspace, create=True) as folder:
            # The time is for people; the rest keeps two of the same moment apart.
            name = f"{hook}-{datetime.now(UTC):{_TIME}}-{secrets.token_hex(2)}.log"
            handle = os.open(name, _FLAGS, FILE_MODE, dir_fd=folder)
            older = sorted((name for name in os.listdir(folder) if _hook(name) == hook), key=_moment)  # noqa: PTH208
            for old in older[:-KEPT]:
                with suppress(OSError):
                    os.unlink(old, dir_fd=folder)
        return HookLog(path / name, handle)

    def _remove(self, workspace: str) -> None:
        try:
            with (
                open_folder(self._root, *_FOLDER) as above,
                open_folder(self._root, *_FOLDER, workspace) as folder,
                translated("remove logs", self._root.joinpath(*_FOLDER, workspace)),
            ):
                for name in os.listdir(folder):  # noqa: PTH208 - a descriptor
                    if _hook(name):
                        os.unlink(name, dir_fd=folder)
                with suppress(OSError):  # somebody has put a file of his own there
                    os.rmdir(workspace, dir_fd=above)
        except FileNotFoundError:
            return


def _hook(name: str) -> str | None:
    found = _NAME.fullmatch(name)
    return found["hook"] if found else None


def _moment(name: str) -> str:
    found = _NAME.fullmatch(name)
    return name[len(found["hook"]) :] if found else name
