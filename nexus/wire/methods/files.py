"""``fs.*``: the files of a workspace. Paths are relative to its root, or absolute as they are inside."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from nexus.models.files import FileChange, FileKind, WatchMode
from nexus.wire.methods.table import Effect, KeyedOfWorkspace, Method, Nothing, Notice, OfWorkspace, Params
from nexus.wire.text import WireText


class Stat(Params):
    """What is known of a path."""

    path: WireText
    kind: FileKind
    size: int
    mtime_ms: int
    mode: int
    etag: str
    target: WireText | None = None
    """What a symbolic link says."""


class OfPath(OfWorkspace):
    """A path of a workspace."""

    path: WireText


class KeyedOfPath(KeyedOfWorkspace):
    """A path of a workspace, to be changed."""

    path: WireText


class StatPath(OfPath):
    """What to look at."""

    follow: bool = True


class ReadDir(OfPath):
    """Which folder, and where to go on."""

    path: WireText = "."
    after: WireText | None = None
    """Begin after this name."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 1000
    hidden: bool = True


class Folder(Params):
    """A page of a folder, by name."""

    items: tuple[Stat, ...]
    next_after: WireText | None = None


class ReadFile(OfPath):
    """What to read, and how."""

    offset: Annotated[int, Field(ge=0)] = 0
    length: Annotated[int, Field(ge=0)] | None = None
    """Bytes at most; a file that is larger than ``limits.inlineFile`` has to be read in pieces, or as a stream."""
    encoding: Literal["auto", "text", "base64"] = "auto"
    """``auto``: as text where it is UTF-8."""


class Content(Params):
    """A file's content, or a piece of it: one of ``text`` and ``data``."""

    text: str | None = None
    data: str | None = None
    """Base64."""


class OpenRead(OfPath):
    """What to read as a stream."""

    offset: Annotated[int, Field(ge=0)] = 0


class ReadStream(Params):
    """The stream that carries it."""

    stat: Stat
    feed: str
    stream: int


class WriteFile(KeyedOfPath):
    """What to write: one of ``text`` and ``data``."""

    text: str | None = None
    data: str | None = None
    """Base64."""
    mode: int | None = None
    if_match: str | None = None
    """The etag that the file has to have; ``absent``: there must be none."""
    parents: bool = True


class OpenWrite(OfPath):
    """What to write as a stream."""

    mode: int | None = None
    if_match: str | None = None
    parents: bool = True


class Upload(Params):
    """Where to send it. Nobody sees the file before ``fs.commit``."""

    upload: str
    stream: int


class Commit(OfWorkspace):
    """The upload that is complete."""

    upload: str
    size: Annotated[int, Field(ge=0)]
    """Bytes that were sent."""


class Abort(OfWorkspace):
    """The upload that is given up."""

    upload: str


class EditPiece(Params):
    """A piece of text to replace."""

    old: str
    new: str
    all: bool = False


class EditFile(KeyedOfPath):
    """Pieces to replace: all of them or none."""

    edits: tuple[EditPiece, ...]
    if_match: str | None = None


class Edited(Params):
    """What an edit did."""

    stat: Stat
    replaced: int


class SetMode(KeyedOfPath):
    """New permission bits."""

    mode: int


class MakeDir(KeyedOfPath):
    """A folder to make."""

    parents: bool = True
    exist_ok: bool = True


class Remove(KeyedOfPath):
    """What to remove."""

    recursive: bool = False
    missing_ok: bool = False


class Rename(KeyedOfWorkspace):
    """From where to where."""

    source: WireText
    target: WireText
    replace: bool = False


class Copied(Params):
    """What was copied."""

    files: int
    directories: int
    symlinks: int
    size: int
    skipped: tuple[WireText, ...] = ()


class RealPath(Params):
    """Where a path leads."""

    path: WireText


class Scan(OfPath):
    """What to list, folder after folder."""

    path: WireText = "."
    recursive: bool = True
    hidden: bool = True
    cursor: str | None = None
    """Goes on with a listing of this connection."""


class Scanned(Params):
    """A page of it."""

    items: tuple[Stat, ...]
    cursor: str | None = None


class Glob(OfWorkspace):
    """What to look for."""

    pattern: WireText
    cursor: str | None = None


class Globbed(Params):
    """A page of what matches."""

    items: tuple[WireText, ...]
    cursor: str | None = None


class Search(OfWorkspace):
    """What to search for."""

    pattern: str
    path: WireText = "."
    regex: bool = True
    case: Literal["sensitive", "insensitive", "smart"] = "sensitive"
    include: tuple[WireText, ...] = ()
    exclude: tuple[WireText, ...] = ()
    ignored: bool = False
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    cursor: str | None = None


class Match(Params):
    """A line in which something was found."""

    path: WireText
    line: int
    text: WireText
    start: int
    end: int


class Found(Params):
    """A page of matches."""

    items: tuple[Match, ...]
    cursor: str | None = None


class Watch(OfPath):
    """What to watch."""

    path: WireText = "."
    recursive: bool = True
    exclude: tuple[WireText, ...] = ()
    mode: Literal["auto", "native", "poll"] = "auto"


class Watching(Params):
    """A watch, which ends with its connection."""

    watch: str
    mode: WatchMode
    notice: str | None = None


class Unwatch(OfWorkspace):
    """The watch to end."""

    watch: str


class Change(Params):
    """A path that changed."""

    kind: FileChange
    path: WireText


class DidChange(Params):
    """What changed within a short time."""

    watch: str
    seq: int
    events: tuple[Change, ...]
    overflow: bool = False
    """More changed than was kept: look at everything again."""


class WatchFailed(Params):
    """Why a watch ended."""

    watch: str
    error: dict[str, object]


_READ, _WRITE = "fs:read", "fs:write"

STAT: Final = Method("fs.stat", StatPath, Stat, Effect.READ, _READ, "Return what is at a path.")
READDIR: Final = Method(
    "fs.readdir", ReadDir, Folder, Effect.READ, _READ, "Return what is in a folder, by name, page by page."
)
READ: Final = Method("fs.readFile", ReadFile, Content, Effect.READ, _READ, "Return a file, or a piece of it.")
OPEN_READ: Final = Method("fs.openRead", OpenRead, ReadStream, Effect.LIVE, _READ, "Send a file as a stream.")
REALPATH: Final = Method(
    "fs.realpath", OfPath, RealPath, Effect.READ, _READ, "Return where a path leads when links are followed."
)
SCAN: Final = Method(
    "fs.scan", Scan, Scanned, Effect.LIVE, _READ, "Return what is in a folder and below, page by page."
)
GLOB: Final = Method("fs.glob", Glob, Globbed, Effect.LIVE, _READ, "Return the paths that match, page by page.")
SEARCH: Final = Method(
    "fs.search", Search, Found, Effect.LIVE, _READ, "Return the lines in which a pattern matches, page by page."
)
WATCH: Final = Method(
    "fs.watch", Watch, Watching, Effect.LIVE, _READ, "Send `fs.didChange` for what changes in a folder."
)
UNWATCH: Final = Method("fs.unwatch", Unwatch, Nothing, Effect.LIVE, _READ, "End a watch.")
WRITE: Final = Method("fs.writeFile", WriteFile, Stat, Effect.KEYED, _WRITE, "Give a file this content in one step.")
OPEN_WRITE: Final = Method(
    "fs.openWrite", OpenWrite, Upload, Effect.LIVE, _WRITE, "Begin to write a file from a stream."
)
COMMIT: Final = Method("fs.commit", Commit, Stat, Effect.LIVE, _WRITE, "Let the file that was sent take its place.")
ABORT: Final = Method("fs.abort", Abort, Nothing, Effect.LIVE, _WRITE, "Give up a file that was being sent.")
EDIT: Final = Method("fs.edit", EditFile, Edited, Effect.KEYED, _WRITE, "Replace pieces of a file's text.")
SET_MODE: Final = Method("fs.setMode", SetMode, Stat, Effect.KEYED, _WRITE, "Set permission bits.")
MKDIR: Final = Method("fs.mkdir", MakeDir, Nothing, Effect.KEYED, _WRITE, "Make a folder.")
REMOVE: Final = Method("fs.remove", Remove, Nothing, Effect.KEYED, _WRITE, "Remove a file, a link, or a folder.")
RENAME: Final = Method("fs.rename", Rename, Nothing, Effect.KEYED, _WRITE, "Give something another name in one step.")
COPY: Final = Method("fs.copy", Rename, Copied, Effect.KEYED, _WRITE, "Copy a file, a link, or a folder.")

METHODS: Final = (
    STAT,
    READDIR,
    READ,
    OPEN_READ,
    REALPATH,
    SCAN,
    GLOB,
    SEARCH,
    WATCH,
    UNWATCH,
    WRITE,
    OPEN_WRITE,
    COMMIT,
    ABORT,
    EDIT,
    SET_MODE,
    MKDIR,
    REMOVE,
    RENAME,
    COPY,
)
DID_CHANGE: Final = Notice("fs.didChange", DidChange, "Files of a watched folder changed.")
WATCH_FAILED: Final = Notice("fs.watchFailed", WatchFailed, "A watch has ended by itself.")
NOTICES: Final = (DID_CHANGE, WATCH_FAILED)
