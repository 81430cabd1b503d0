"""``exec.*``: commands. A command outlives its connection; whoever comes back goes on where they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from nexus.wire.methods.table import (
    Effect,
    KeyedOfWorkspace,
    Method,
    Milliseconds,
    Nothing,
    Notice,
    Params,
)
from nexus.wire.text import WireText

_CELLS = Annotated[int, Field(ge=1, le=0xFFFF)]
Offset = Annotated[int, Field(ge=0)]


class TerminalSize(Params):
    """A terminal, in character cells."""

    rows: _CELLS = 24
    cols: _CELLS = 80
    term: str = "xterm-256color"


class Command(KeyedOfWorkspace):
    """What to run."""

    argv: Annotated[tuple[WireText, ...], Field(min_length=1)]
    """The program and its arguments; no shell is involved."""
    cwd: WireText | None = None
    env: Annotated[Mapping[WireText, WireText], Field(repr=False)] = {}
    masked: tuple[WireText, ...] = ()
    """Names in `env` whose values are kept out of whatever is written down."""
    user: str | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=10**12)] | None = None
    grace_ms: Milliseconds = 5000
    """Between TERM and KILL."""
    service: str | None = None
    """Run it where this service runs."""
    wake: bool = True
    keeps_awake: bool = True


class Retain(Params):
    """How much of each stream a result keeps."""

    head: Annotated[int, Field(ge=0, le=262_144)] = 65_536
    tail: Annotated[int, Field(ge=0, le=262_144)] = 131_072


class Run(Command):
    """A command, to its end."""

    input: str | None = None
    """Given to standard input, as base64."""
    retain: Retain = Retain()


class Start(Command):
    """A command, to work with while it runs."""

    stdin: bool = False
    pty: TerminalSize | None = None
    detach: bool = False
    """Let it run on when the session ends; otherwise it is ended then."""
    policy: Literal["block", "drop"] = "block"
    """What becomes of output that nobody takes: the command waits, or the oldest is lost."""
    labels: Mapping[str, str] = {}


class Exit(Params):
    """How a command ended."""

    exit_code: int | None
    """``None`` when its end was not seen."""
    signal: int | None = None
    timed_out: bool = False
    oom: bool = False
    lost: bool = False
    duration_ms: int = 0


class Kept(Params):
    """What is kept of a stream."""

    text: str | None = None
    """Where it is UTF-8."""
    data: str | None = None
    """Base64 otherwise."""
    total: int
    """Bytes that were printed."""
    head: int
    """Bytes of the beginning that are kept; what follows them is the end."""
    truncated: bool = False


class Ran(Params):
    """A command that has ended."""

    exec: str
    exit: Exit
    stdout: Kept
    stderr: Kept


class Streams(Params):
    """Stream ids of this connection."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None


class Started(Params):
    """A command that runs."""

    exec: str
    pid: int | None = None
    started_at_ms: int
    streams: Streams


class OfExec(Params):
    """A command."""

    exec: Annotated[str, Field(max_length=100)]


class Offsets(Params):
    """Where to go on."""

    stdout: Offset = 0
    stderr: Offset = 0


class Attach(OfExec):
    """A command to go on with."""

    offsets: Offsets = Offsets()
    owner: bool = True
    """Whether a ``block`` command waits for this reader. A reader that is none may miss output when it is slow."""


class Reattached(Params):
    """The streams that carry it on this connection."""

    streams: Streams
    oldest: Offsets
    newest: Offsets
    stdin_offset: int
    """Bytes of standard input that were taken."""
    running: bool
    pid: int | None = None


class SignalExec(OfExec):
    """A signal for its process group."""

    signal: Annotated[int, Field(ge=1, le=64)]


class ResizeExec(OfExec):
    """The size of its terminal."""

    rows: _CELLS
    cols: _CELLS


class Terminate(OfExec):
    """How long to wait between TERM and KILL."""

    grace_ms: Milliseconds = 5000


class Wait(OfExec):
    """How long to wait."""

    wait_ms: Annotated[int, Field(ge=0, le=3_600_000)] | None = None


class Waited(Params):
    """Its end, when it came in time."""

    running: bool
    exit: Exit | None = None


class ListExecs(Params):
    """Of which workspace; of all when absent."""

    workspace: str | None = None


class ExecInfo(Params):
    """A command that the daemon knows."""

    exec: str
    workspace: str
    """Its workspace's id."""
    program: str
    """Its program, without arguments: they may hold what is nobody's business."""
    started_at_ms: int
    running: bool
    exit: Exit | None = None
    detached: bool = False
    labels: Mapping[str, str] = {}
    stdout: int = 0
    """Bytes that it printed."""
    stderr: int = 0


class ExecList(Params):
    """Commands, the oldest first."""

    items: tuple[ExecInfo, ...]


class DidExit(Params):
    """A command has ended. Comes after the ``END`` of its streams."""

    exec: str
    exit: Exit
    stream_ends: Offsets
    """The length of each stream: whoever has fewer bytes knows it."""


_SCOPE = "exec"

RUN: Final = Method("exec.run", Run, Ran, Effect.LIVE, _SCOPE, "Run a command to its end, in one round trip.")
START: Final = Method(
    "exec.start", Start, Started, Effect.LIVE, _SCOPE, "Start a command; its output comes as streams."
)
ATTACH: Final = Method(
    "exec.attach", Attach, Reattached, Effect.LIVE, _SCOPE, "Go on with a command, from these offsets on."
)
CLOSE_STDIN: Final = Method(
    "exec.closeStdin", OfExec, Nothing, Effect.LIVE, _SCOPE, "End its standard input; `END` on the stream does it, too."
)
SIGNAL: Final = Method("exec.signal", SignalExec, Nothing, Effect.LIVE, _SCOPE, "Send a signal to its process group.")
RESIZE: Final = Method("exec.resize", ResizeExec, Nothing, Effect.LIVE, _SCOPE, "Tell its terminal its new size.")
TERMINATE: Final = Method("exec.terminate", Terminate, Exit, Effect.LIVE, _SCOPE, "End it: TERM, the grace, KILL.")
WAIT: Final = Method("exec.wait", Wait, Waited, Effect.READ, _SCOPE, "Wait for its end, for a while.")
LIST: Final = Method("exec.list", ListExecs, ExecList, Effect.READ, _SCOPE, "Return the commands that are known.")
RELEASE: Final = Method("exec.release", OfExec, Nothing, Effect.LIVE, _SCOPE, "Forget it; one that runs is ended.")

METHODS: Final = (RUN, START, ATTACH, CLOSE_STDIN, SIGNAL, RESIZE, TERMINATE, WAIT, LIST, RELEASE)
DID_EXIT: Final = Notice("exec.didExit", DidExit, "A command has ended and everything it printed was sent.")
NOTICES: Final = (DID_EXIT,)
