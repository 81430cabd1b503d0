"""The files of a workspace, wherever they are. :class:`nexus.FileSystem` is the one for a tree on this host."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, Self, runtime_checkable

from nexus.models.files import (
    Edit,
    EditResult,
    Etag,
    FileInfo,
    FolderPage,
    GrepMatch,
    TransferResult,
    WatchBatch,
    WatchMode,
)


class FileReader(Protocol):
    """A file that is being read from beginning to end, in pieces; ``async for chunk in reader`` gives them all."""

    @property
    def info(self) -> FileInfo:
        """The file as it was when it was opened. It is this file that is read, whatever takes its name meanwhile."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes, never none.

        Raises:
            anyio.EndOfStream: At the end of the file.
        """

    def __aiter__(self) -> Self:
        """Give the pieces."""

    async def __anext__(self) -> bytes:
        """Return the next piece."""


class FileWriter(Protocol):
    """A file that is being written in pieces. Nobody sees it before its block is left without an error."""

    @property
    def info(self) -> FileInfo:
        """The file as it was written, once the block is left.

        Raises:
            InvalidArgument: Before that.
        """

    async def send(self, data: bytes) -> None:
        """Write the next bytes; returns when they are handed over."""


class Watch(Protocol):
    """What changes in a folder, in batches; ``async for batch in watch`` gives them as they come."""

    @property
    def mode(self) -> WatchMode:
        """How changes are learned of."""

    @property
    def notice(self) -> str | None:
        """Why it is not the way that was hoped for, for people; ``None`` when it is."""

    async def receive(self) -> WatchBatch:
        """Wait for the next batch. A cancelled call loses none.

        Raises:
            WorkspaceGone: When the work tree was removed.
            PathNotFound: When the folder that is watched was removed or renamed.
        """

    def __aiter__(self) -> Self:
        """Give the batches."""

    async def __anext__(self) -> WatchBatch:
        """Return the next batch."""


@runtime_checkable
class FileAccess(Protocol):
    """Reads and changes the files of one work tree, and of nothing else.

    A path is relative to the tree's root, or absolute below one of the names that the root has. One that leads out of the tree
    raises ``PathEscape``; otherwise errors are the classes under ``FsError``.
    """

    async def read_bytes(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        """Return a file's bytes: all, or ``limit`` of them from ``offset``."""

    async def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return a file's text, line ends unchanged."""

    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        """Return what is at a path."""

    async def exists(self, path: str) -> bool:
        """Return whether there is something, links followed."""

    async def is_file(self, path: str) -> bool:
        """Return whether it is a regular file, links followed."""

    async def is_dir(self, path: str) -> bool:
        """Return whether it is a folder, links followed."""

    def scan(self, path: str = ".", *, recursive: bool = False, hidden: bool = True) -> AsyncGenerator[FileInfo, None]:
        """Give what is in a folder, by name; links are given as links and not followed."""

    async def list_page(
        self, path: str = ".", *, after: str | None = None, limit: int = 1000, hidden: bool = True
    ) -> FolderPage:
        """Return what is in a folder by name, ``limit`` entries of it: the first ones, or those ``after`` a name."""

    def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        """Give the paths that match: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders."""

    async def realpath(self, path: str) -> str:
        """Return where a path leads when every link on it is followed, relative to the root. It has to be there."""

    def open_read(self, path: str, *, offset: int = 0) -> AbstractAsyncContextManager[FileReader]:
        """Read a file in pieces, whatever its size: ``async with fs.open_read(path) as reader: async for chunk in reader``."""

    def grep(
        self,
        pattern: str,
        *,
        path: str = ".",
        regex: bool = True,
        case: Literal["sensitive", "insensitive", "smart"] = "sensitive",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        ignored: bool = False,
        limit: int = 1000,
    ) -> AsyncGenerator[GrepMatch, None]:
        """Give the lines in which a pattern matches, file after file, at most ``limit``."""

    def watch(
        self,
        path: str = ".",
        *,
        recursive: bool = True,
        exclude: Sequence[str] = (),
        mode: Literal["auto", "native", "poll"] = "auto",
    ) -> AbstractAsyncContextManager[Watch]:
        """Learn of what changes in a folder: ``async with fs.watch("src") as watch: async for batch in watch``."""

    async def write_bytes(
        self, path: str, data: bytes, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> FileInfo:
        """Give a file this content in one step; with ``if_match`` only when it still has that etag."""

    async def write_text(
        self,
        path: str,
        text: str,
        *,
        encoding: str = "utf-8",
        mode: int | None = None,
        if_match: Etag | None = None,
        parents: bool = True,
    ) -> FileInfo:
        """Give a file this text; otherwise as :meth:`write_bytes`."""

    def open_write(
        self, path: str, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> AbstractAsyncContextManager[FileWriter]:
        """Write a file in pieces. It takes its place when the block is left without an error, and leaves nothing otherwise."""

    async def set_mode(self, path: str, mode: int) -> FileInfo:
        """Set permission bits, links followed."""

    async def edit(self, path: str, edits: Sequence[Edit], *, if_match: Etag | None = None) -> EditResult:
        """Replace pieces of a file's text: all of them or none."""

    async def make_dir(self, path: str, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Make a folder."""

    async def remove(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Remove a file, a link (not what it leads to), or a folder."""

    async def rename(self, src: str, dst: str, *, replace: bool = False) -> None:
        """Give a file, link or folder another name in one step."""

    async def copy(self, src: str, dst: str, *, replace: bool = False) -> TransferResult:
        """Copy a file, a link (as a link), or a folder with everything in it."""

    async def upload(
        self, local: str | os.PathLike[str], remote: str, *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        """Copy a file or folder of this host into the workspace."""

    async def download(
        self, remote: str, local: str | os.PathLike[str], *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        """Copy a file or folder of the workspace to this host."""
