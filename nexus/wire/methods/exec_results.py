"""``exec.*``: commands as results: run to their end in one call, ended, waited for, listed. ``execs`` works with one while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from nexus.wire.methods.execs import SCOPE, Command, Exit, OfExec
from nexus.wire.methods.table import Effect, Method, Milliseconds, Nothing, Params


class Retain(Params):
    """How much of each stream a result keeps."""

    head: Annotated[int, Field(ge=0, le=262_144)] = 65_536
    tail: Annotated[int, Field(ge=0, le=262_144)] = 131_072


class Run(Command):
    """A command, to its end."""

    input: str | None = None
    """Given to standard input, as base64."""
    retain: Retain = Retain()


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


RUN: Final = Method("exec.run", Run, Ran, Effect.LIVE, SCOPE, "Run a command to its end, in one round trip.")
CLOSE_STDIN: Final = Method(
    "exec.closeStdin", OfExec, Nothing, Effect.LIVE, SCOPE, "End its standard input; `END` on the stream does it, too."
)
TERMINATE: Final = Method("exec.terminate", Terminate, Exit, Effect.LIVE, SCOPE, "End it: TERM, the grace, KILL.")
WAIT: Final = Method("exec.wait", Wait, Waited, Effect.READ, SCOPE, "Wait for its end, for a while.")
LIST: Final = Method("exec.list", ListExecs, ExecList, Effect.READ, SCOPE, "Return the commands that are known.")

METHODS: Final = (RUN, CLOSE_STDIN, TERMINATE, WAIT, LIST)
