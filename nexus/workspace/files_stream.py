"""Files in pieces: read while they are as large as they like, written so that nobody ever sees a half."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, Self

import anyio
import anyio.to_thread

from nexus.errors import InvalidArgument
from nexus.models.files import Etag, FileInfo
from nexus.workspace.beneath import Tree, changing
from nexus.workspace.files_read import info_of, named, open_file
from nexus.workspace.files_write import compare, refuse_unless_file, require_bits
from nexus.workspace.path_errors import told
from nexus.workspace.replacing import Draft, status_of, turn, write_all
from nexus.workspace.tree_access import TreeAccess

_LARGEST_PIECE: Final = 4 * 1024 * 1024


class Pieces:
    """Reads an open file from beginning to end.

    Args:
        fd: The file.
        info: What it was when it was opened.
        offset: Where to begin.
    """

    def __init__(self, fd: int, info: FileInfo, offset: int) -> None:
        self._fd = fd
        self._info = info
        self._offset = offset

    @property
    def info(self) -> FileInfo:
        """The file as it was when it was opened."""
        return self._info

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, never none.

        Raises:
            anyio.EndOfStream: At the end of the file.
            InvalidArgument: When ``max_bytes`` is less than one.

        Cancellation: nothing is lost, the next call returns the same bytes.
        """
        if max_bytes < 1:
            raise InvalidArgument(f"max_bytes has to be at least one: {max_bytes}")
        with told(self._info.path):
            data = await anyio.to_thread.run_sync(os.pread, self._fd, min(max_bytes, _LARGEST_PIECE), self._offset)
        if not data:
            raise anyio.EndOfStream
        self._offset += len(data)
        return data

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


@asynccontextmanager
async def open_read(access: TreeAccess, path: str, offset: int) -> AsyncGenerator[Pieces, None]:
    """Open a file for reading in pieces."""
    if offset < 0:
        raise InvalidArgument(f"offset cannot be negative: {offset}")

    def opened(tree: Tree) -> tuple[int, FileInfo]:
        with tree.found(path) as found:
            fd = open_file(found, path)
        return fd, info_of(named(tree.parts(path)), os.fstat(fd))

    fd, info = await access.take(path, opened, close=lambda taken: os.close(taken[0]))
    try:
        yield Pieces(fd, info, offset)
    finally:
        os.close(fd)


class _Target:
    """Where a file will be, and the file that is being written for it. Blocks; owns two descriptors."""

    def __init__(self, tree: Tree, path: str, *, mode: int | None, if_match: Etag | None, parents: bool) -> None:
        self._path = path
        self._mode = mode
        self._if_match = if_match
        self._shown = named(tree.parts(path))
        with tree.place(path, writing=True, create=parents) as place, contextlib.ExitStack() as undo:
            if place.name is None:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            self._name = place.name
            old = self._compared(place.fd)
            self._directory = os.dup(place.fd)
            undo.callback(os.close, self._directory)
            self._draft = Draft(self._directory, private=mode is not None or old is not None)
            undo.pop_all()

    def write(self, data: bytes) -> None:
        write_all(self._draft.fd, data)

    def publish(self) -> FileInfo:
        with turn(self._directory):
            old = self._compared(self._directory)
            return info_of(self._shown, self._draft.publish(self._name, old, self._mode))

    def close(self) -> None:
        self._draft.close()
        os.close(self._directory)

    def _compared(self, directory: int) -> os.stat_result | None:
        old = status_of(directory, self._name)
        if old is not None and stat.S_ISLNK(old.st_mode):
            raise changing(self._path)
        refuse_unless_file(old, self._path)
        compare(old, self._if_match, self._path)
        return old


class Writing:
    """A file that is being written.

    Args:
        target: Where it goes.
        path: What it is called.
    """

    def __init__(self, target: _Target, path: str) -> None:
        self._target = target
        self._path = path
        self._info: FileInfo | None = None

    @property
    def info(self) -> FileInfo:
        """The file as it was written, once the block is left.

        Raises:
            InvalidArgument: Before that.
        """
        if self._info is None:
            raise InvalidArgument(f"{self._path} is not written yet", hint="ask after the block")
        return self._info

    async def send(self, data: bytes) -> None:
        """Write the next bytes.

        Cancellation: they are written or not; leaving the block with the cancellation leaves no file.
        """
        with told(self._path):
            await anyio.to_thread.run_sync(self._target.write, bytes(data))

    async def publish(self) -> None:
        """Let it take its place."""
        with told(self._path):
            self._info = await anyio.to_thread.run_sync(self._target.publish)


@asynccontextmanager
async def open_write(
    access: TreeAccess, path: str, *, mode: int | None, if_match: Etag | None, parents: bool
) -> AsyncGenerator[Writing, None]:
    """Open a file for writing in pieces; it takes its place when the block ends without an error."""
    require_bits(mode)
    target = await access.take(
        path,
        lambda tree: _Target(tree, path, mode=mode, if_match=if_match, parents=parents),
        close=_Target.close,
    )
    try:
        writing = Writing(target, path)
        yield writing
        await writing.publish()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(target.close)
