"""``terminal.*``: terminals that outlive whoever looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    MAX_SCROLLBACK,
    MAX_SIZE,
    MIB,
    Replay,
    ResizeMark,
    Role,
    TerminalExit,
    TerminalInfo,
)
from nexus.wire.methods.execs import TerminalSize
from nexus.wire.methods.table import (
    Effect,
    KeyedOfWorkspace,
    Method,
    Milliseconds,
    Nothing,
    Notice,
    OfWorkspace,
    Params,
)
from nexus.wire.text import WireText

Cells = Annotated[int, Field(ge=1, le=MAX_SIZE)]


class Open(KeyedOfWorkspace):
    """A terminal to open; the user's shell when there is no ``argv``."""

    argv: tuple[WireText, ...] = ()
    size: TerminalSize = TerminalSize()
    cwd: WireText | None = None
    env: Annotated[Mapping[WireText, WireText], Field(repr=False)] = {}
    user: str | None = None
    name: str | None = None
    scrollback: Annotated[int, Field(ge=1, le=MAX_SCROLLBACK)] = MIB
    keep_alive_ms: Milliseconds = 300_000
    rerun: bool = False


class TerminalList(Params):
    """Terminals, the oldest first."""

    items: tuple[TerminalInfo, ...]


class OfTerminal(OfWorkspace):
    """A terminal."""

    terminal: TerminalId


class Attach(OfTerminal):
    """How to look at it."""

    since: Annotated[int, Field(ge=0)] | None = None
    role: Role = "controller"
    replay: Replay = "tail"
    takeover: bool = False
    size: TerminalSize | None = None
    client: Annotated[str, Field(max_length=300)] = ""


class Attached(Params):
    """Where it begins. ``session`` is this look at the terminal; it ends with its connection."""

    session: str
    stream: int
    info: TerminalInfo
    role: Role
    start: int
    oldest: int
    newest: int
    gap: tuple[int, int] | None = None
    prefix: str = ""
    """Base64, to be written to the screen first; no part of what was printed."""
    resizes: tuple[ResizeMark, ...] = ()


class OfSession(OfWorkspace):
    """A look at a terminal."""

    session: str


class Input(OfSession):
    """What is typed."""

    data: str
    """Base64."""
    typist: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Chosen by the client, for all it types into this terminal in its session, over however many connections."""
    offset: Annotated[int, Field(ge=0)] = 0
    """Where `data` begins in all that this typist has typed. What was taken before a connection was lost is not typed again."""


class Resize(OfSession):
    """The new size."""

    rows: Cells
    cols: Cells


class Detached(Params):
    """Where to go on from later."""

    offset: int


class Kill(KeyedOfWorkspace):
    """Which, and how long to wait between HUP and KILL."""

    terminal: TerminalId
    grace_ms: Milliseconds = 2000


class Rename(KeyedOfWorkspace):
    """Its new name."""

    terminal: TerminalId
    name: str


class DidResize(Params):
    """From ``mark.atOffset`` on it has another size."""

    session: str
    mark: ResizeMark


class DidChange(Params):
    """Its title, folder, name, controller or state is another one."""

    session: str
    info: TerminalInfo
    role: Role


class DidSkip(Params):
    """What to write to the screen before what follows a gap. Comes before the ``SKIP`` of the stream."""

    session: str
    start: int
    end: int
    prefix: str
    """Base64."""


class DidExit(Params):
    """Its program has ended. Comes after the ``END`` of the stream."""

    session: str
    exit: TerminalExit


_SCOPE = "terminal"

OPEN: Final = Method(
    "terminal.open", Open, TerminalInfo, Effect.KEYED, _SCOPE, "Open a terminal; it prints before anybody looks."
)
LIST: Final = Method("terminal.list", OfWorkspace, TerminalList, Effect.READ, _SCOPE, "Return its terminals.")
GET: Final = Method("terminal.get", OfTerminal, TerminalInfo, Effect.READ, _SCOPE, "Return one terminal.")
ATTACH: Final = Method(
    "terminal.attach", Attach, Attached, Effect.LIVE, _SCOPE, "Look at a terminal, from an offset on."
)
INPUT: Final = Method(
    "terminal.input",
    Input,
    Nothing,
    Effect.LIVE,
    _SCOPE,
    "Type. Inputs of a session are typed in their order; with a `typist`, each byte once.",
)
RESIZE: Final = Method("terminal.resize", Resize, Nothing, Effect.LIVE, _SCOPE, "Give it another size.")
DETACH: Final = Method(
    "terminal.detach", OfSession, Detached, Effect.LIVE, _SCOPE, "Look no longer; its program runs on."
)
WAIT: Final = Method("terminal.wait", OfTerminal, TerminalExit, Effect.READ, _SCOPE, "Wait for its program to end.")
KILL: Final = Method("terminal.kill", Kill, TerminalInfo, Effect.KEYED, _SCOPE, "End its program and forget it.")
RENAME: Final = Method("terminal.rename", Rename, TerminalInfo, Effect.KEYED, _SCOPE, "Call it by another name.")

METHODS: Final = (OPEN, LIST, GET, ATTACH, INPUT, RESIZE, DETACH, WAIT, KILL, RENAME)
DID_RESIZE: Final = Notice("terminal.didResize", DidResize, "A terminal has another size from an offset on.")
DID_CHANGE: Final = Notice("terminal.didChange", DidChange, "Something about a terminal is different.")
DID_SKIP: Final = Notice("terminal.didSkip", DidSkip, "A slow session misses output.")
DID_EXIT: Final = Notice("terminal.didExit", DidExit, "A terminal's program has ended, and everything was sent.")
NOTICES: Final = (DID_RESIZE, DID_CHANGE, DID_SKIP, DID_EXIT)
