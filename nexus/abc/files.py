"""The files of a workspace, wherever they are. :class:`nexus.FileSystem` is the one for a tree on this host."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol, runtime_checkable

from nexus.models.files import Edit, EditResult, Etag, FileInfo, TransferResult


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

    def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        """Give the paths that match: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders."""

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
