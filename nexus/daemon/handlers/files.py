"""``fs.*``: calls that are done when they are answered."""

from __future__ import annotations

import base64
import binascii
import stat as modes
from collections.abc import AsyncGenerator
from typing import Final, TypeVar
from uuid import uuid4

from nexus.daemon.call import Call, Pages, Routes
from nexus.errors import FsError, InvalidArgument
from nexus.models.files import Edit, Etag, FileInfo, GrepMatch
from nexus.wire.methods import files as methods
from nexus.wire.methods.table import Nothing

ROUTES: Final = Routes()
_NOTHING: Final = Nothing()
_PAGE: Final = 500
T = TypeVar("T")


def told(info: FileInfo) -> methods.Stat:
    """Return what is known of a path as the wire has it."""
    # Built without validation: it comes from ourselves, and a listing has thousands.
    return methods.Stat.model_construct(
        path=info.path,
        kind=info.kind,
        size=info.size,
        mtime_ms=round(info.mtime * 1000),
        mode=info.mode,
        etag=info.etag,
        target=info.target,
    )


@ROUTES.on(methods.STAT)
async def stat(call: Call, params: methods.StatPath) -> methods.Stat:
    """Look at a path."""
    return told(await (await call.files(params.workspace)).stat(params.path, follow=params.follow))


@ROUTES.on(methods.READDIR)
async def readdir(call: Call, params: methods.ReadDir) -> methods.Folder:
    """Return a page of a folder."""
    files = await call.files(params.workspace)
    page = await files.list_page(params.path, after=params.after, limit=params.limit, hidden=params.hidden)
    return methods.Folder.model_construct(items=tuple(map(told, page.entries)), next_after=page.next)


@ROUTES.on(methods.READ)
async def read(call: Call, params: methods.ReadFile) -> methods.Content:
    """Return a file or a piece of it."""
    most = call.hub.limits.inline_file
    if params.length is not None and params.length > most:
        raise InvalidArgument(f"a result holds at most {most} bytes of a file", hint="read less, or use fs.openRead")
    files = await call.files(params.workspace)
    data = await files.read_bytes(params.path, offset=params.offset, limit=_wanted(params, most))
    if len(data) > most:
        raise FsError(
            f"{params.path} is larger than {most} bytes", path=params.path, hint="read it in pieces, or use fs.openRead"
        )
    return _content(data, params)


@ROUTES.at_once(methods.READ)
def read_now(call: Call, params: methods.ReadFile) -> methods.Content | None:
    """Return a file or a piece of it that is in memory."""
    most = call.hub.limits.inline_file
    files = call.prompt_files(params.workspace)
    if files is None or (params.length is not None and params.length > most):
        return None
    data = files.read_now(params.path, offset=params.offset, limit=_wanted(params, most))
    return None if data is None or len(data) > most else _content(data, params)


def _wanted(params: methods.ReadFile, most: int) -> int:
    """Return how much is read: a byte more than may be given tells that it is too much."""
    return most + 1 if params.length is None else params.length


def _content(data: bytes, params: methods.ReadFile) -> methods.Content:
    if params.encoding != "base64":
        try:
            return methods.Content(text=data.decode())
        except UnicodeDecodeError:
            if params.encoding == "text":
                raise FsError(
                    f"{params.path} is no UTF-8 text", path=params.path, hint="read it with encoding 'base64'"
                ) from None
    return methods.Content(data=base64.b64encode(data).decode())


@ROUTES.on(methods.REALPATH)
async def realpath(call: Call, params: methods.OfPath) -> methods.RealPath:
    """Follow links."""
    return methods.RealPath(path=await (await call.files(params.workspace)).realpath(params.path))


async def _page(call: Call, cursor: str | None, begin: AsyncGenerator[T, None] | None) -> tuple[list[T], str | None]:
    """Return the next items of a listing that is begun or gone on with, and what to go on with."""
    pages: Pages[T] = Pages(begin) if begin is not None else call.connection.listings.take(cursor or "")
    items, more = await pages.page(_PAGE)
    if not more:
        return items, None
    following = f"pg_{uuid4().hex[:16]}"
    await call.connection.listings.keep(following, pages)
    return items, following


@ROUTES.on(methods.SCAN)
async def scan(call: Call, params: methods.Scan) -> methods.Scanned:
    """Return a page of a tree."""
    files = await call.files(params.workspace)
    begin = None if params.cursor else files.scan(params.path, recursive=params.recursive, hidden=params.hidden)
    items, cursor = await _page(call, params.cursor, begin)
    return methods.Scanned.model_construct(items=tuple(map(told, items)), cursor=cursor)


@ROUTES.on(methods.GLOB)
async def glob(call: Call, params: methods.Glob) -> methods.Globbed:
    """Return a page of the paths that match."""
    files = await call.files(params.workspace)
    items, cursor = await _page(call, params.cursor, None if params.cursor else files.glob(params.pattern))
    return methods.Globbed.model_construct(items=tuple(items), cursor=cursor)


@ROUTES.on(methods.SEARCH)
async def search(call: Call, params: methods.Search) -> methods.Found:
    """Return a page of the lines that match."""
    files = await call.files(params.workspace)
    begin = None
    if params.cursor is None:
        begin = files.grep(
            params.pattern,
            path=params.path,
            regex=params.regex,
            case=params.case,
            include=params.include,
            exclude=params.exclude,
            ignored=params.ignored,
            limit=params.limit,
        )
    items, cursor = await _page(call, params.cursor, begin)
    return methods.Found.model_construct(items=tuple(map(_match, items)), cursor=cursor)


def _match(match: GrepMatch) -> methods.Match:
    return methods.Match.model_construct(
        path=match.path, line=match.line, text=match.text, start=match.start, end=match.end
    )


def bits(mode: int | None) -> int | None:
    """Return permission bits.

    Raises:
        InvalidArgument: When they are more than that.
    """
    if mode is not None and mode != modes.S_IMODE(mode):
        raise InvalidArgument(f"{mode} is more than permission bits")
    return mode


@ROUTES.on(methods.WRITE)
async def write(call: Call, params: methods.WriteFile) -> methods.Stat:
    """Give a file its content."""
    files = await call.files(params.workspace)
    match = Etag(params.if_match) if params.if_match is not None else None
    data = _given(params)
    return told(
        await files.write_bytes(params.path, data, mode=bits(params.mode), if_match=match, parents=params.parents)
    )


def _given(params: methods.WriteFile) -> bytes:
    if (params.text is None) == (params.data is None):
        raise InvalidArgument("one of 'text' and 'data' has to be given")
    if params.text is not None:
        return params.text.encode()
    try:
        return base64.b64decode(params.data or "", validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"'data' is no base64: {error}") from None


@ROUTES.on(methods.EDIT)
async def edit(call: Call, params: methods.EditFile) -> methods.Edited:
    """Replace pieces of text."""
    files = await call.files(params.workspace)
    edits = [Edit(old=piece.old, new=piece.new, all=piece.all) for piece in params.edits]
    match = Etag(params.if_match) if params.if_match is not None else None
    done = await files.edit(params.path, edits, if_match=match)
    return methods.Edited(stat=told(done.info), replaced=done.replaced)


@ROUTES.on(methods.SET_MODE)
async def set_mode(call: Call, params: methods.SetMode) -> methods.Stat:
    """Set permission bits."""
    bits(params.mode)
    return told(await (await call.files(params.workspace)).set_mode(params.path, params.mode))


@ROUTES.on(methods.MKDIR)
async def mkdir(call: Call, params: methods.MakeDir) -> Nothing:
    """Make a folder."""
    files = await call.files(params.workspace)
    await files.make_dir(params.path, parents=params.parents, exist_ok=params.exist_ok)
    return _NOTHING


@ROUTES.on(methods.REMOVE)
async def remove(call: Call, params: methods.Remove) -> Nothing:
    """Remove something."""
    files = await call.files(params.workspace)
    await files.remove(params.path, recursive=params.recursive, missing_ok=params.missing_ok)
    return _NOTHING


@ROUTES.on(methods.RENAME)
async def rename(call: Call, params: methods.Rename) -> Nothing:
    """Give something another name."""
    files = await call.files(params.workspace)
    await files.rename(params.source, params.target, replace=params.replace)
    return _NOTHING


@ROUTES.on(methods.COPY)
async def copy(call: Call, params: methods.Rename) -> methods.Copied:
    """Copy something."""
    files = await call.files(params.workspace)
    done = await files.copy(params.source, params.target, replace=params.replace)
    return methods.Copied(
        files=done.files, directories=done.directories, symlinks=done.symlinks, size=done.size, skipped=done.skipped
    )
