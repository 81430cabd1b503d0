"""Reading a workspace's log while its keeper writes and rotates it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread

from nexus.providers.local.keeper.log import NAME, OLDER

_CHUNK: Final = 64 * 1024
_POLL: Final = 0.1


async def read_log(
    folder: Path, *, follow: bool, tail: int | None, ended: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """Give the log in chunks.

    Args:
        folder: The workspace's folder.
        follow: Whether to wait for more until ``ended``.
        tail: Lines to begin with; all when absent.
        ended: Asked when there is nothing more to read.
    """
    reader = _Reader(folder)
    try:
        begin = await to_thread.run_sync(reader.begin, tail)
        for start in range(0, len(begin), _CHUNK):
            yield begin[start : start + _CHUNK]
        while follow:
            over = await ended()
            while data := await to_thread.run_sync(reader.more):
                yield data
            if over:
                return
            await anyio.sleep(_POLL)
    finally:
        reader.close()


class _Reader:
    """Holds the current file, also after it was put aside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current: int | None = None

    def begin(self, tail: int | None) -> bytes:
        """Return what is there, or its last lines. Both files are bounded, so this is."""
        self._current = _open(self._folder / NAME)
        # Opened second: when the files change places in between, it is the same file and is not read twice.
        older = _open(self._folder / OLDER)
        before = b""
        if older is not None:
            if self._current is None or not os.path.sameopenfile(older, self._current):
                before = _rest(older)
            os.close(older)
        text = before + (_rest(self._current) if self._current is not None else b"")
        return text if tail is None else _last_lines(text, tail)

    def more(self) -> bytes:
        """Return what was written since, going over to the next file once this one is read."""
        data = _rest(self._current, _CHUNK) if self._current is not None else b""
        if data or not self._rotated():
            return data
        rest = _rest(self._current) if self._current is not None else b""
        self.close()
        self._current = _open(self._folder / NAME)
        return rest or (_rest(self._current, _CHUNK) if self._current is not None else b"")

    def close(self) -> None:
        if self._current is not None:
            os.close(self._current)
            self._current = None

    def _rotated(self) -> bool:
        try:
            now = (self._folder / NAME).stat()
        except OSError:
            return False
        return self._current is None or not os.path.samestat(now, os.fstat(self._current))


def _last_lines(text: bytes, count: int) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join(lines[max(0, len(lines) - count) :])


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None


def _rest(descriptor: int, most: int | None = None) -> bytes:
    parts = []
    left = most
    while part := os.read(descriptor, _CHUNK if left is None else min(left, _CHUNK)):
        parts.append(part)
        left = None if left is None else left - len(part)
    return b"".join(parts)
