"""The files of a workspace whose work tree is a folder of this host."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import anyio.from_thread
import anyio.lowlevel
from typing_extensions import override

from nexus.abc.files import FileReader, FileWriter, Watch
from nexus.errors import InvalidArgument, PathNotADirectory, PathNotFound
from nexus.handles.derived_files import DerivedFiles
from nexus.handles.glob_pattern import Exclusion, GlobPattern
from nexus.models.files import Edit, EditResult, Etag, FileInfo, FolderPage, GrepMatch, TransferResult
from nexus.workspace import files_grep, files_read, files_remove, files_stream, files_transfer, files_watch, files_write
from nexus.workspace.beneath import Tree
from nexus.workspace.files_at_once import CachedFiles
from nexus.workspace.files_watch import Wish
from nexus.workspace.grep_pattern import Case, Needle
from nexus.workspace.tree_access import TreeAccess

_IN_A_ROW: Final = 8
"""Reads that wait for nothing before other tasks have their turn."""


class FileSystem(DerivedFiles):
    """Reads and changes the files of one work tree.

    A path is relative to the tree's root, or absolute below one of the names that the root has. No path leads out of the tree,
    neither by ``..`` nor by a symbolic link, whatever programs inside change at the same time. Links that stay inside are
    followed. FIFOs, sockets and devices are listed and removed, never opened. The tree's ``.git`` is read and never changed: what
    git runs on this host believes it. Names that are no UTF-8 come with surrogates, as :func:`os.fsdecode` gives them.

    Every call raises ``WorkspaceGone`` when the tree is not there, ``PathEscape`` for a path that leads out, and otherwise the
    classes under ``FsError``, each with the system's ``errno``. A call that is cancelled returns when the step at hand is done:
    a write has then happened wholly or not at all.

    Args:
        root: The work tree.
        aliases: Further absolute paths that mean the root, such as the one it has inside.
    """

    def __init__(self, root: Path, *, aliases: Sequence[str] = ()) -> None:
        self._access = TreeAccess(root, tuple(aliases))
        self._cached = CachedFiles(root)
        self._reads = 0

    def __repr__(self) -> str:
        return f"<FileSystem {self._access.root}>"

    # Reading --------------------------------------------------------------------------------------------------------

    @override
    async def read_bytes(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidArgument(f"offset and limit cannot be negative: offset={offset}, limit={limit}")
        at_once = self.read_now(path, offset=offset, limit=limit)
        if at_once is not None:
            await self._let_others()
            return at_once
        return await self._access.do(path, lambda tree: self._read(tree, path, offset, limit))

    def read_now(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes | None:
        """Return a file's bytes where the kernel has them in memory, ``None`` otherwise. Never waits."""
        return self._cached.read(path, offset, limit)

    async def _let_others(self) -> None:
        """Let other tasks run, and a cancellation be seen, now and then: often enough to be fair, seldom enough to stay quick."""
        self._reads = (self._reads + 1) % _IN_A_ROW
        if self._reads == 0:
            await anyio.lowlevel.checkpoint()

    def _read(self, tree: Tree, path: str, offset: int, limit: int | None) -> bytes:
        self._cached.learn()
        return files_read.read(tree, path, offset, limit)

    @override
    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        return await self._access.do(path, lambda tree: files_read.look(tree, path, follow=follow))

    @override
    async def realpath(self, path: str) -> str:
        return await self._access.do(path, lambda tree: files_read.real_path(tree, path))

    @override
    async def scan(
        self, path: str = ".", *, recursive: bool = False, hidden: bool = True
    ) -> AsyncGenerator[FileInfo, None]:
        async for _, info in self._access.walk(path, hidden=hidden, descend=lambda _: recursive):
            yield info

    @override
    async def list_page(
        self, path: str = ".", *, after: str | None = None, limit: int = 1000, hidden: bool = True
    ) -> FolderPage:
        if limit < 1:
            raise InvalidArgument(f"limit has to be at least one: {limit}")
        return await self._access.do(
            path, lambda tree: files_read.list_page(tree, path, after=after, limit=limit, hidden=hidden)
        )

    @override
    async def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        parsed = GlobPattern.parse(pattern)
        start = "/".join(parsed.prefix) or "."

        def names(below: Sequence[bytes]) -> list[str]:
            return [os.fsdecode(part) for part in below]

        try:
            async for below, info in self._access.walk(
                start, descend=lambda below: parsed.may_match_below(names(below))
            ):
                if parsed.matches(names(below)):
                    yield info.path
        except (PathNotFound, PathNotADirectory):
            return

    @override
    def grep(
        self,
        pattern: str,
        *,
        path: str = ".",
        regex: bool = True,
        case: Case = "sensitive",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        ignored: bool = False,
        limit: int = 1000,
    ) -> AsyncGenerator[GrepMatch, None]:
        needle = Needle.parse(pattern, regex=regex, case=case)
        wanted = files_grep.Wanted(Exclusion.parse(include), Exclusion.parse(exclude), ignored)
        return files_grep.grep(self._access, needle, path, wanted, limit)

    @override
    def open_read(self, path: str, *, offset: int = 0) -> AbstractAsyncContextManager[FileReader]:
        return files_stream.open_read(self._access, path, offset)

    @override
    def watch(
        self, path: str = ".", *, recursive: bool = True, exclude: Sequence[str] = (), mode: Wish = "auto"
    ) -> AbstractAsyncContextManager[Watch]:
        return files_watch.watch(self._access, path, recursive=recursive, exclude=exclude, mode=mode)

    # Writing --------------------------------------------------------------------------------------------------------

    @override
    async def write_bytes(
        self, path: str, data: bytes, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> FileInfo:
        return await self._access.do(
            path,
            lambda tree: files_write.write(tree, path, bytes(data), mode=mode, if_match=if_match, parents=parents),
        )

    @override
    def open_write(
        self, path: str, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> AbstractAsyncContextManager[FileWriter]:
        return files_stream.open_write(self._access, path, mode=mode, if_match=if_match, parents=parents)

    @override
    async def set_mode(self, path: str, mode: int) -> FileInfo:
        return await self._access.do(path, lambda tree: files_write.set_mode(tree, path, mode))

    @override
    async def edit(self, path: str, edits: Sequence[Edit], *, if_match: Etag | None = None) -> EditResult:
        return await self._access.do(path, lambda tree: files_write.edit(tree, path, edits, if_match=if_match))

    @override
    async def make_dir(self, path: str, *, parents: bool = True, exist_ok: bool = True) -> None:
        await self._access.do(path, lambda tree: files_write.make_dir(tree, path, parents=parents, exist_ok=exist_ok))

    @override
    async def remove(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        check = anyio.from_thread.check_cancelled
        await self._access.do(
            path,
            lambda tree: files_remove.remove(tree, path, recursive=recursive, missing_ok=missing_ok, check=check),
        )

    @override
    async def rename(self, src: str, dst: str, *, replace: bool = False) -> None:
        await self._access.do(src, lambda tree: files_remove.rename(tree, src, dst, replace=replace), dst)

    # Copying --------------------------------------------------------------------------------------------------------

    @override
    async def copy(self, src: str, dst: str, *, replace: bool = False) -> TransferResult:
        check = anyio.from_thread.check_cancelled
        return await self._access.do(
            src, lambda tree: files_transfer.copy(tree, src, dst, replace=replace, check=check), dst
        )

    @override
    async def upload(
        self, local: str | os.PathLike[str], remote: str, *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        check, leave_out = anyio.from_thread.check_cancelled, _patterns(exclude)
        return await self._access.do(
            remote, lambda tree: files_transfer.upload(tree, Path(local), remote, exclude=leave_out, check=check)
        )

    @override
    async def download(
        self, remote: str, local: str | os.PathLike[str], *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        check, leave_out = anyio.from_thread.check_cancelled, _patterns(exclude)
        return await self._access.do(
            remote, lambda tree: files_transfer.download(tree, remote, Path(local), exclude=leave_out, check=check)
        )


def _patterns(exclude: Sequence[str]) -> tuple[str, ...]:
    if isinstance(exclude, str):
        raise InvalidArgument("exclude takes a list of patterns, not one text", hint=f"write [{exclude!r}]")
    return tuple(exclude)
