"""The files of a workspace behind a daemon."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

from typing_extensions import override

from nexus.client.file_streams import RemoteReader, RemoteWriter, info_of
from nexus.client.line import Line
from nexus.client.streams import FeedReader
from nexus.client.transfers import download, upload
from nexus.client.watching import RemoteWatch
from nexus.errors import InvalidArgument
from nexus.handles.derived_files import DerivedFiles
from nexus.models.files import Edit, EditResult, Etag, FileInfo, FolderPage, GrepMatch, TransferResult
from nexus.wire.limits import DEFAULT_LIMITS
from nexus.wire.methods import files as methods

_INLINE: Final = DEFAULT_LIMITS.inline_file


class RemoteFiles(DerivedFiles):
    """Implements :class:`~nexus.abc.files.FileAccess` over a connection.

    Reads are asked again when the connection is lost; writes carry a key, so that each is done once. A call that is cancelled has
    happened wholly or not at all.

    Args:
        line: The connection.
        workspace: Whose files, by id.
    """

    def __init__(self, line: Line, workspace: str) -> None:
        self._line = line
        self._workspace = workspace

    def __repr__(self) -> str:
        return f"<RemoteFiles {self._workspace}>"

    # Reading --------------------------------------------------------------------------------------------------------

    @override
    async def read_bytes(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidArgument(f"offset and limit cannot be negative: offset={offset}, limit={limit}")
        wanted = _INLINE if limit is None else min(limit, _INLINE)
        first = await self._piece(path, offset, wanted)
        if len(first) < wanted or wanted == limit:
            return first
        # It may be longer: the rest comes as a stream, all of one and the same file.
        return await self._all(path, offset, limit)

    async def _piece(self, path: str, offset: int, length: int) -> bytes:
        found = await self._line.call(
            methods.READ, methods.ReadFile(workspace=self._workspace, path=path, offset=offset, length=length)
        )
        return found.text.encode() if found.text is not None else base64.b64decode(found.data or "")

    async def _all(self, path: str, offset: int, limit: int | None) -> bytes:
        data = bytearray()
        async with self.open_read(path, offset=offset) as reader:
            async for piece in reader:
                data += piece
                if limit is not None and len(data) >= limit:
                    break
        return bytes(data if limit is None else data[:limit])

    @override
    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        params = methods.StatPath(workspace=self._workspace, path=path, follow=follow)
        return info_of(await self._line.call(methods.STAT, params))

    @override
    async def scan(
        self, path: str = ".", *, recursive: bool = False, hidden: bool = True
    ) -> AsyncGenerator[FileInfo, None]:
        params = methods.Scan(workspace=self._workspace, path=path, recursive=recursive, hidden=hidden)
        while True:
            page = await self._line.call(methods.SCAN, params)
            for stat in page.items:
                yield info_of(stat)
            if page.cursor is None:
                return
            params = params.model_copy(update={"cursor": page.cursor})

    @override
    async def list_page(
        self, path: str = ".", *, after: str | None = None, limit: int = 1000, hidden: bool = True
    ) -> FolderPage:
        if limit < 1:
            raise InvalidArgument(f"limit has to be at least one: {limit}")
        params = methods.ReadDir(
            workspace=self._workspace, path=path, after=after, limit=min(limit, 1000), hidden=hidden
        )
        page = await self._line.call(methods.READDIR, params)
        return FolderPage(entries=tuple(map(info_of, page.items)), next=page.next_after)

    @override
    async def glob(self, pattern: str) -> AsyncGenerator[str, None]:
        params = methods.Glob(workspace=self._workspace, pattern=pattern)
        while True:
            page = await self._line.call(methods.GLOB, params)
            for path in page.items:
                yield path
            if page.cursor is None:
                return
            params = params.model_copy(update={"cursor": page.cursor})

    @override
    async def realpath(self, path: str) -> str:
        found = await self._line.call(methods.REALPATH, methods.OfPath(workspace=self._workspace, path=path))
        return found.path

    @override
    @asynccontextmanager
    async def open_read(self, path: str, *, offset: int = 0) -> AsyncGenerator[RemoteReader, None]:
        if offset < 0:
            raise InvalidArgument(f"offset cannot be negative: {offset}")
        feed = FeedReader(self._line)

        def opened(found: methods.ReadStream) -> None:
            if self._line.current is not None:
                feed.begin(self._line.current, found.feed, found.stream)

        params = methods.OpenRead(workspace=self._workspace, path=path, offset=offset)
        try:
            found = await self._line.call(methods.OPEN_READ, params, on_result=opened, again=True)
            yield RemoteReader(feed, info_of(found.stat))
        finally:
            feed.close()

    @override
    async def grep(
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
        params = methods.Search(
            workspace=self._workspace,
            pattern=pattern,
            path=path,
            regex=regex,
            case=case,
            include=tuple(include),
            exclude=tuple(exclude),
            ignored=ignored,
            limit=limit,
        )
        while True:
            page = await self._line.call(methods.SEARCH, params)
            for item in page.items:
                yield GrepMatch(path=item.path, line=item.line, text=item.text, start=item.start, end=item.end)
            if page.cursor is None:
                return
            params = params.model_copy(update={"cursor": page.cursor})

    @override
    @asynccontextmanager
    async def watch(
        self,
        path: str = ".",
        *,
        recursive: bool = True,
        exclude: Sequence[str] = (),
        mode: Literal["auto", "native", "poll"] = "auto",
    ) -> AsyncGenerator[RemoteWatch, None]:
        params = methods.Watch(
            workspace=self._workspace, path=path, recursive=recursive, exclude=tuple(exclude), mode=mode
        )
        watch = RemoteWatch(self._line, params)
        await watch.begin()
        try:
            yield watch
        finally:
            watch.close()

    # Writing --------------------------------------------------------------------------------------------------------

    @override
    async def write_bytes(
        self, path: str, data: bytes, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> FileInfo:
        if len(data) > _INLINE:
            async with self.open_write(path, mode=mode, if_match=if_match, parents=parents) as writer:
                await writer.send(data)
            return writer.info
        params = methods.WriteFile(
            workspace=self._workspace,
            path=path,
            data=base64.b64encode(data).decode(),
            mode=mode,
            if_match=if_match,
            parents=parents,
            idempotency_key=uuid.uuid4().hex,
        )
        return info_of(await self._line.call(methods.WRITE, params))

    @override
    @asynccontextmanager
    async def open_write(
        self, path: str, *, mode: int | None = None, if_match: Etag | None = None, parents: bool = True
    ) -> AsyncGenerator[RemoteWriter, None]:
        params = methods.OpenWrite(workspace=self._workspace, path=path, mode=mode, if_match=if_match, parents=parents)
        writer = RemoteWriter(self._line, self._workspace, path)
        try:
            await self._line.call(methods.OPEN_WRITE, params, on_result=writer.begin)
            yield writer
            await writer.commit()
        except BaseException:
            writer.abandon()
            raise

    @override
    async def set_mode(self, path: str, mode: int) -> FileInfo:
        params = methods.SetMode(workspace=self._workspace, path=path, mode=mode, idempotency_key=uuid.uuid4().hex)
        return info_of(await self._line.call(methods.SET_MODE, params))

    @override
    async def edit(self, path: str, edits: Sequence[Edit], *, if_match: Etag | None = None) -> EditResult:
        pieces = tuple(methods.EditPiece(old=edit.old, new=edit.new, all=edit.all) for edit in edits)
        params = methods.EditFile(
            workspace=self._workspace, path=path, edits=pieces, if_match=if_match, idempotency_key=uuid.uuid4().hex
        )
        done = await self._line.call(methods.EDIT, params)
        return EditResult(info=info_of(done.stat), replaced=done.replaced)

    @override
    async def make_dir(self, path: str, *, parents: bool = True, exist_ok: bool = True) -> None:
        params = methods.MakeDir(
            workspace=self._workspace,
            path=path,
            parents=parents,
            exist_ok=exist_ok,
            idempotency_key=uuid.uuid4().hex,
        )
        await self._line.call(methods.MKDIR, params)

    @override
    async def remove(self, path: str, *, recursive: bool = False, missing_ok: bool = False) -> None:
        params = methods.Remove(
            workspace=self._workspace,
            path=path,
            recursive=recursive,
            missing_ok=missing_ok,
            idempotency_key=uuid.uuid4().hex,
        )
        await self._line.call(methods.REMOVE, params)

    @override
    async def rename(self, src: str, dst: str, *, replace: bool = False) -> None:
        await self._line.call(methods.RENAME, self._move(src, dst, replace=replace))

    @override
    async def copy(self, src: str, dst: str, *, replace: bool = False) -> TransferResult:
        done = await self._line.call(methods.COPY, self._move(src, dst, replace=replace))
        return TransferResult(
            files=done.files, directories=done.directories, symlinks=done.symlinks, size=done.size, skipped=done.skipped
        )

    def _move(self, src: str, dst: str, *, replace: bool) -> methods.Rename:
        return methods.Rename(
            workspace=self._workspace, source=src, target=dst, replace=replace, idempotency_key=uuid.uuid4().hex
        )

    @override
    async def upload(
        self, local: str | os.PathLike[str], remote: str, *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        return await upload(self, local, remote, exclude=exclude)

    @override
    async def download(
        self, remote: str, local: str | os.PathLike[str], *, exclude: Sequence[str] = ()
    ) -> TransferResult:
        return await download(self, remote, local, exclude=exclude)
