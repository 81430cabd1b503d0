"""Terminals that outlive whoever looks at them: what is asked, what is known, what comes while one looks.

What passes often is a slotted dataclass; what is stored or sent as a whole is a pydantic model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias, final

from pydantic import Field

from nexus.errors import InvalidArgument
from nexus.models.base import Model
from nexus.models.execution import Pty
from nexus.models.ids import TerminalId, WorkspaceId

MIB: Final = 1024 * 1024

MAX_SCROLLBACK: Final = 10 * MIB
"""Bytes that one terminal may keep of what it printed."""
MAX_SIZE: Final = 0xFFFF
"""Rows or columns that a terminal can have."""
LONGEST_NAME: Final = 200
"""Characters of a name; longer ones are refused."""

SOFT_RESET: Final = b"\x18\x1b[0m\x1b[!p\x1b[?47l\x1b[?1000;1002;1003;1004;1005;1006;1015;2004l\x1b[?7;25h\x1b(B\x0f"
r"""Written to a screen before output that does not begin where the screen's own content ends.

``CAN`` ends a sequence that was cut short; then plain attributes, ``DECSTR`` (modes, margins, cursor keys, origin), the main screen, no
mouse, no bracketed paste, wrapping, a visible cursor and the ASCII character set. Nothing that is on the screen is erased, and the cursor
stays where it is.
"""

Role: TypeAlias = Literal["controller", "viewer"]
"""A controller types, sets the size, and may slow the program down by not reading; a viewer only looks. One controller at a time."""
Replay: TypeAlias = Literal["tail", "all", "none"]
"""What an attachment gets of the past: a last screenful and more, everything that is kept, or only what comes."""


class TerminalState(StrEnum):
    """What a terminal is doing."""

    RUNNING = "running"
    """Its program runs (frozen with its workspace, when that is paused)."""
    EXITED = "exited"
    """Its program has ended; what it showed is still there for a while."""
    KEPT = "kept"
    """What it showed is kept and no program runs in it: its workspace was stopped, or its manager died. Attaching opens it again."""


class TerminalExit(Model):
    """How a terminal's program ended."""

    exit_code: int | None
    """The status; 128 + n after signal n; ``None`` when the end was not seen (``lost``)."""
    signal: int | None = None
    lost: bool = False


class ResizeMark(Model):
    """From this offset on the program printed for a terminal of this size."""

    at_offset: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=1, le=MAX_SIZE)]
    cols: Annotated[int, Field(ge=1, le=MAX_SIZE)]


class TerminalInfo(Model):
    """A terminal as it was when somebody asked."""

    id: TerminalId
    workspace: WorkspaceId
    name: str
    """What its user calls it; at first its program."""
    state: TerminalState
    argv: tuple[str, ...]
    """What it was opened with."""
    cwd: str | None = None
    """The folder it is in, as far as that is known: what the program last told, else where it was opened; ``None``: the tree's root."""
    user: str | None = None
    title: str = ""
    """What the program last called it; control characters are left out."""
    size: Pty
    pid: int | None = None
    """Its process id inside the workspace, where that is known."""
    controller: str | None = None
    """Who types, in words; ``None`` when nobody does."""
    viewers: int = 0
    """How many only look."""
    created_at: datetime
    last_input_at: datetime | None = None
    """When somebody last typed."""
    exit: TerminalExit | None = None
    oldest: int = 0
    """Offset of the first byte that is kept."""
    newest: int = 0
    """Offset after the last byte: how many it has printed since it was opened for the first time."""
    scrollback: int = MIB
    """Bytes that are kept."""
    keep_alive: float = 300.0
    """Seconds for which it stays after its program has ended and nobody is attached."""
    restored: str | None = None
    """How it came back, when its program is not the one it was opened with: one sentence."""
    elsewhere: str | None = None
    """Which other program serves it, in words: it can be attached to there only. ``None``: this one, or nobody."""
    survives: bool = False
    """Whether its program runs on when the process that serves it dies; otherwise it is opened again then, with what it showed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalRequest:
    """A terminal to open. A new field always has a default."""

    argv: tuple[str, ...] = ()
    """The program and its arguments; the user's shell inside when empty."""
    size: Pty = field(default_factory=Pty)
    cwd: str | None = None
    """Folder to open it in; the tree's root when absent, and relative to that root when relative."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the workspace's environment. May hold secrets, so it is neither shown nor written down: a restored terminal lacks it."""
    user: str | None = None
    name: str | None = None
    scrollback: int = MIB
    """Bytes that are kept of what it prints."""
    keep_alive: float = 300.0
    """Seconds for which it stays after its program has ended and nobody is attached."""
    rerun: bool = False
    """Whether its command is run again when it is restored. Otherwise that is done for plain shells only: what has an effect is not
    done twice unasked, and a shell opens in its folder instead."""

    def __post_init__(self) -> None:
        check_size(self.size.rows, self.size.cols)
        if not 1 <= self.scrollback <= MAX_SCROLLBACK:
            raise InvalidArgument(
                f"a terminal keeps between 1 and {MAX_SCROLLBACK} bytes of what it printed, not {self.scrollback}"
            )
        if not 0 <= self.keep_alive < float("inf"):
            raise InvalidArgument(f"a terminal cannot be kept for {self.keep_alive} seconds after its end")
        if self.name is not None:
            check_name(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """How one looks at a terminal. A new field always has a default."""

    since: int | None = None
    """Offset to go on from: how far this client has come before. When absent, ``replay`` says where to begin."""
    role: Role = "controller"
    replay: Replay = "tail"
    takeover: bool = False
    """Become the controller although somebody else is; that one looks on as a viewer."""
    size: Pty | None = None
    """A controller's own size, set before anything is replayed."""
    client: str = ""
    """Who it is, in words, for others to see: ``ana on laptop (pid 12)``."""

    def __post_init__(self) -> None:
        if self.since is not None and self.since < 0:
            raise InvalidArgument(f"there is no offset {self.since}")
        if self.size is not None:
            check_size(self.size.rows, self.size.cols)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPoint:
    """Where an attachment begins."""

    start: int
    """Offset of the first byte that is given."""
    oldest: int
    newest: int
    """What was kept at that moment."""
    gap: tuple[int, int] | None = None
    """Bytes ``since`` to ``start``, when what was asked for is no longer there."""
    prefix: bytes = b""
    """To be written to the screen before the first byte. It has no offset: it is no part of what the program printed."""
    resizes: tuple[ResizeMark, ...] = ()
    """The sizes that what is replayed was printed for, the one in force at ``start`` first."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalOutput:
    """Bytes the program printed; ``offset`` counts the bytes before them."""

    offset: int
    data: bytes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalGap:
    """Bytes ``start`` to ``end`` are not given: they were overwritten before this client read them."""

    start: int
    end: int
    prefix: bytes = SOFT_RESET
    """To be written to the screen before what follows: a soft reset, and the modes that the program has switched on."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalResized:
    """From ``mark.at_offset`` on the terminal has another size."""

    mark: ResizeMark


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalChanged:
    """Its title, folder, name, controller or state is another one now."""

    info: TerminalInfo


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalExited:
    """The program has ended and everything it printed was given. Always the last event."""

    exit: TerminalExit


TerminalEvent: TypeAlias = TerminalOutput | TerminalGap | TerminalResized | TerminalChanged | TerminalExited


def check_size(rows: int, cols: int) -> None:
    """Refuse a size that no terminal can have.

    Raises:
        InvalidArgument: When a number is not between 1 and 65535.
    """
    if not (1 <= rows <= MAX_SIZE and 1 <= cols <= MAX_SIZE):
        raise InvalidArgument(f"a terminal cannot have {rows} rows and {cols} columns")


def check_name(name: str) -> None:
    """Refuse a name that cannot be shown.

    Raises:
        InvalidArgument: When it is empty, too long, or holds control characters.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidArgument(
            f"{name[:LONGEST_NAME]!r} cannot be a terminal's name: it is printable text of at most {LONGEST_NAME} characters"
        )
