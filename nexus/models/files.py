"""Files of a workspace, as values.

Slotted dataclasses, not pydantic models: a scan gives tens of thousands, and a name need not be UTF-8. Bytes of a name that
are not become lone surrogates (``surrogateescape``), as :func:`os.fsdecode` does it; pydantic refuses such text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from nexus.errors import InvalidArgument

Etag = NewType("Etag", str)
"""Names one content of a file: equal etags, same content. Compare it, do not look into it."""

ABSENT: Final = Etag("absent")
"""As ``if_match``: only when there is no such file yet."""


class FileKind(StrEnum):
    """What a path is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"
    """A FIFO, socket or device. It can be listed, renamed and removed, never opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """What is known of a path."""

    path: str
    """Relative to the workspace's root, with ``/``; the root itself is ``.``."""
    kind: FileKind
    size: int
    """Bytes."""
    mtime: float
    """Last change of the content, in seconds since 1970."""
    mode: int
    """Permission bits."""
    etag: Etag
    target: str | None = None
    """What a symbolic link says, word for word."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A piece of text to replace. It has to be there exactly as given, white space included."""

    old: str
    new: str
    all: bool = False
    """Replace it wherever it is; otherwise it has to be there exactly once."""

    def __post_init__(self) -> None:
        if not self.old:
            raise InvalidArgument("an edit needs text to replace", hint="write a new file with write_text")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """What an edit did."""

    info: FileInfo
    """The file as it is now."""
    replaced: int
    """Places that were replaced, over all edits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferResult:
    """What was copied."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    size: int = 0
    """Bytes in files."""
    skipped: tuple[str, ...] = ()
    """Paths that were left out because they cannot be copied safely, each with the reason: ``run/sock: a socket``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPage:
    """A piece of a folder's listing."""

    entries: tuple[FileInfo, ...]
    """By name."""
    next: str | None = None
    """The ``after`` of the next page; ``None`` when this was the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrepMatch:
    """A line in which something was found."""

    path: str
    line: int
    """Its number, from one."""
    text: str
    """The line without its end. Bytes that are no UTF-8 become U+FFFD; of a very long line only the part around the match."""
    start: int
    """Where in ``text`` the first match begins, in characters."""
    end: int
    """Where it ends."""


class FileChange(StrEnum):
    """What happened to a path."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


class WatchMode(StrEnum):
    """How changes are learned of."""

    NATIVE = "native"
    """The kernel tells."""
    POLL = "poll"
    """The tree is looked at again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvent:
    """A path that changed."""

    kind: FileChange
    path: str
    """Relative to the workspace's root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchBatch:
    """What changed within a short time; each path once."""

    events: tuple[FileEvent, ...] = ()
    overflow: bool = False
    """More changed than was kept. What you know of the tree is out of date: look at it again as a whole."""
