"""``exec.*``: commands. A command outlives its connection; whoever comes back goes on where they were.

This is what works with one while it runs; ``exec_results`` is what asks about commands.
"""

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


class DidExit(Params):
    """A command has ended. Comes after the ``END`` of its streams."""

    exec: str
    exit: Exit
    stream_ends: Offsets
    """The length of each stream: whoever has fewer bytes knows it."""


SCOPE = "exec"

START: Final = Method("exec.start", Start, Started, Effect.LIVE, SCOPE, "Start a command; its output comes as streams.")
ATTACH: Final = Method(
    "exec.attach", Attach, Reattached, Effect.LIVE, SCOPE, "Go on with a command, from these offsets on."
)
SIGNAL: Final = Method("exec.signal", SignalExec, Nothing, Effect.LIVE, SCOPE, "Send a signal to its process group.")
RESIZE: Final = Method("exec.resize", ResizeExec, Nothing, Effect.LIVE, SCOPE, "Tell its terminal its new size.")
RELEASE: Final = Method("exec.release", OfExec, Nothing, Effect.LIVE, SCOPE, "Forget it; one that runs is ended.")

METHODS: Final = (START, ATTACH, SIGNAL, RESIZE, RELEASE)
DID_EXIT: Final = Notice("exec.didExit", DidExit, "A command has ended and everything it printed was sent.")
NOTICES: Final = (DID_EXIT,)
