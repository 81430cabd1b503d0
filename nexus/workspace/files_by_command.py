"""The files of a workspace whose backend offers nothing better than running commands in it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from typing_extensions import override

from nexus.abc.files import FileReader, FileWriter, Watch
from nexus.errors import InvalidArgument, PathNotADirectory, PathNotFound
from nexus.handles.derived_files import DerivedFiles
from nexus.handles.glob_pattern import Exclusion, GlobPattern
from nexus.models.files import (
    Edit,
    EditResult,
    Etag,
    FileInfo,
    FolderPage,
    GrepMatch,
    TransferResult,
)
from nexus.workspace import command_moving
from nexus.workspace.command_place import CommandPlace, Entry, Spawn, new_token, parse_info, parse_list
from nexus.workspace.command_search import grep
from nexus.workspace.command_streams import Pieces, Writing, give_up
from nexus.workspace.command_watch import watch
from nexus.workspace.files_watch import Wish
from nexus.workspace.files_write import apply_edits, require_bits
from nexus.workspace.grep_pattern import Case, Needle

_KEEP: Final = "-"


class FilesByCommand(DerivedFiles):
    """Works on the files of a work tree by commands that run where it is: ``sh`` and the small programs of BusyBox or GNU.

    The contract is that of :class:`nexus.FileSystem`, with these differences: every step takes as long as a command takes to start;
    an ``if_match`` is one step with the write among the users of this object, and among all where ``flock`` is installed inside;
    times are told in whole seconds; a watch looks at the tree again and again. What programs inside do meanwhile is not guarded
    against: they could do it anyway, and nothing outside of the workspace can be reached.

    Args:
        spawn: Starts a command inside.
        root: The tree, as programs inside name it.
        aliases: Further absolute paths that mean the root.
    """

    def __init__(self, spawn: Spawn, root: str, *, aliases: Sequence[str] = ()) -> None:
        self._place = CommandPlace(spawn, root, tuple(aliases))
        self._turn = anyio.Lock()

    def __repr__(self) -> str:
        return f"<FilesByCommand {self._place.root}>"

    # Reading --------------------------------------------------------------------------------------------------------

    @override
    async def read_bytes(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidArgument(f"offset and limit cannot be negative: offset={offset}, limit={limit}")
        async with self._opened(path, offset, limit) as reader:
            return b"".join([chunk async for chunk in reader])

    @override
    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        out = await self._place.ask("stat", path, "1" if follow else "0")
        line, _, target = out.partition(b"\n")
        told = os.fsdecode(target.removesuffix(b"\n")) if target else None
        return parse_info(self._place.shown(path), line, told)

    @override
    async def realpath(self, path: str) -> str:
        return os.fsdecode(await self._place.ask("real", path)) or "."

    @override
    async def scan(
        self, path: str = ".", *, recursive: bool = False, hidden: bool = True
    ) -> AsyncGenerator[FileInfo, None]:
        for entry in await self._list(path, deep=recursive):
            if hidden or not any(part.startswith(b".") for part in entry.below):
                yield entry.info

    @override
    async def list_page(
        self, path: str = ".", *, after: str | None = None, limit: int = 1000, hidden: bool = True
    ) -> FolderPage:
        if limit < 1:
            raise InvalidArgument(f"limit has to be at least one: {limit}")
        entries = [one for one in await self._list(path) if hidden or not one.below[-1].startswith(b".")]
        begin = b"" if after is None else os.fsencode(after)
        rest = [one for one in entries if after is None or one.below[-1] > begin]
        page = rest[:limit]
        more = len(rest) > limit
        return FolderPage(
            entries=tuple(one.info for one in page), next=os.fsdecode(page[-1].below[-1]) if more else None
        )

    @override
    async def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        parsed = GlobPattern.parse(pattern)
        deep = len(parsed.segments) > 1 or None in parsed.segments
        try:
            entries = await self._list("/".join(parsed.prefix) or ".", deep=deep)
        except (PathNotFound, PathNotADirectory):
            return
        for entry in entries:
            if parsed.matches([os.fsdecode(part) for part in entry.below]):
                yield entry.info.path

    @override
    def open_read(self, path: str, *, offset: int = 0) -> AbstractAsyncContextManager[FileReader]:
        if offset < 0:
            raise InvalidArgument(f"offset cannot be negative: {offset}")
        return self._opened(path, offset, None)

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
        return grep(
            self, needle, path, Exclusion.parse(include), Exclusion.parse(exclude), ignored=ignored, limit=limit
        )

    @override
    def watch(
        self, path: str = ".", *, recursive: bool = True, exclude: Sequence[str] = (), mode: Wish = "auto"
    ) -> AbstractAsyncContextManager[Watch]:
        return watch(self, path, recursive=recursive, exclude=Exclusion.parse(exclude), mode=mode)

    # Writing --------------------------------------------------------------------------------------------------------

    @override
    async def write_bytes(
        self, path: str, data: bytes, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> FileInfo:
        async with self._written(path, mode=mode, if_match=if_match, parents=parents) as writer:
            await writer.send(data)
        return writer.info

    @override
    def open_write(
        self, path: str, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> AbstractAsyncContextManager[FileWriter]:
        return self._written(path, mode=mode, if_match=if_match, parents=parents)

    @override
    async def set_mode(self, path: str, mode: int) -> FileInfo:
        require_bits(mode)
        return parse_info(self._place.shown(path), await self._place.ask("mode", path, f"{mode:o}"))

    @override
    async def edit(self, path: str, edits: Sequence[Edit], *, if_match: Etag | None = None) -> EditResult:
        async with self._opened(path, 0, None) as reader:
            old = b"".join([chunk async for chunk in reader])
        data, replaced = apply_edits(old, edits)
        # The file that was read is the one that is replaced: an edit that came in between is not lost.
        info = await self.write_bytes(path, data, if_match=if_match or reader.info.etag, parents=False)
        return EditResult(info=info, replaced=replaced)

    @override
    async def make_dir(self, path: str, *, parents: bool = True, exist_ok: bool = True) -> None:
        await self._place.ask("mkdir", path, str(int(parents)), str(int(exist_ok)))

    @override
    async def remove(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        try:
            await self._place.ask("remove", path, str(int(recursive)))
        except PathNotFound:
            if not missing_ok:
                raise

    @override
    async def rename(self, src: str, dst: str, *, replace: bool = False) -> None:
        target = os.fsdecode(b"/".join(self._place.parts(dst))) or "."
        await self._place.ask("rename", src, target, str(int(replace)))

    # Copying --------------------------------------------------------------------------------------------------------

    @override
    async def copy(self, src: str, dst: str, *, replace: bool = False) -> TransferResult:
        return await command_moving.copy(self, src, dst, replace=replace)

    @override
    async def upload(
        self, local: str | os.PathLike[str], remote: str, *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        return await command_moving.upload(self, Path(local), remote, Exclusion.parse(exclude))

    @override
    async def download(
        self, remote: str, local: str | os.PathLike[str], *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        return await command_moving.download(self, remote, Path(local), Exclusion.parse(exclude))

    async def make_link(self, path: str, target: str, *, replace: bool) -> None:
        """Make a symbolic link that says ``target``."""
        await self._place.ask("link", path, target, str(int(replace)))

    async def list_below(self, path: str, *, deep: bool) -> list[Entry]:
        """Return what is in a folder, with its paths from there."""
        return await self._list(path, deep=deep)

    async def _list(self, path: str, *, deep: bool = False) -> list[Entry]:
        token = new_token()
        out = await self._place.ask("list", path, str(int(deep)), token=token)
        return parse_list(self._place.parts(path), out, token)

    @asynccontextmanager
    async def _opened(self, path: str, offset: int, limit: int | None) -> AsyncGenerator[Pieces, None]:
        wanted = ("read", path, str(offset), str(-1 if limit is None else limit))
        async with self._place.running(*wanted) as process:
            pieces = Pieces(process, self._place, path)
            await pieces.begin()
            yield pieces

    @asynccontextmanager
    async def _written(
        self, path: str, *, mode: int | None, if_match: Etag | None, parents: bool
    ) -> AsyncGenerator[Writing, None]:
        require_bits(mode)
        bits, token, match = _KEEP if mode is None else f"{mode:o}", new_token(), if_match or ""
        drafted = False
        async with self._place.running(
            "draft", path, bits, match, str(int(parents)), token=token, stdin=True
        ) as process:
            writing = Writing(process, self._place, path)
            try:
                yield writing
                drafted = await writing.finish()
            except BaseException:
                await give_up(process)
                raise
        try:
            async with self._turn:
                out = await self._place.ask("publish", path, bits, match, str(writing.sent), token=token)
            writing.publish(parse_info(self._place.shown(path), out))
            drafted = False
        finally:
            if drafted:
                with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                    await self._place.ask("drop", path, token=token)
