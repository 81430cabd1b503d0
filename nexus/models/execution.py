"""Commands: what is asked, what comes while they run, what is known when they have ended.

The events are slotted dataclasses, not pydantic models: thousands pass in a second and none is ever stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, Self, TypeAlias, final

from nexus import models
from nexus.errors import ExecFailed, ExecTimeout, InvalidArgument
from nexus.models.ids import ExecId

MIB: Final = 1024 * 1024


class Stream(StrEnum):
    """Where output came from. A terminal has one stream: ``STDOUT``."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pty:
    """The size of a terminal, in character cells."""

    rows: int = 24
    cols: int = 80
    term: str = "xterm-256color"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRequest:
    """A command to start. A new field always has a default, so that older providers keep working."""

    argv: tuple[str, ...]
    """The program and its arguments; never passed through a shell."""
    cwd: str | None = None
    """Working folder inside the workspace; its root when absent, and relative to that root when relative."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to the workspace's environment. May hold secrets, so it is not shown."""
    masked: tuple[str, ...] = ()
    """Names in ``env`` whose values a provider keeps out of whatever it writes down."""
    user: str | None = None
    """User to run as, where the backend has users; the workspace's own when absent."""
    stdin: bool = False
    """Whether the caller will write to standard input; otherwise it is at end of file from the start."""
    pty: Pty | None = None
    """Run on a terminal of this size."""
    timeout: float | None = None
    """Seconds until the whole process group is killed."""
    grace: float = 5.0
    """Seconds between TERM and KILL when the group is ended."""
    wake: bool = True
    """Whether a workspace that was put to sleep because nothing happened in it is woken for this command."""
    keeps_awake: bool = True
    """Whether the workspace counts as in use while this command runs; a server that only waits does not use it."""
    leaves_running: bool = False
    """Whether it may end before what it has started, which then goes on printing to nobody and is not to be harmed by that."""
    keep: int = 0
    """Bytes of a terminal's output that its backend keeps, so that the command runs on when its caller goes away and can be joined again
    (``SupportsKeeping``); elsewhere, and with ``0``, it ends with its caller."""

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise InvalidArgument("a command needs a program to run")
        if any("\0" in part for part in (*self.argv, *self.env, *self.env.values())):
            raise InvalidArgument("a command's words and environment cannot hold a NUL character")
        if any(not key or "=" in key for key in self.env):
            raise InvalidArgument("the name of an environment variable is not empty and holds no '='")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The command runs. Always the first event."""

    exec_id: ExecId
    pid: int | None = None
    """Its process id as seen inside the workspace, where that is known."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes the command printed; ``offset`` counts the bytes of this stream before them."""

    stream: Stream
    offset: int
    data: bytes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Bytes ``start`` to ``end`` of a stream are lost: they were overwritten before anybody read them."""

    stream: Stream
    start: int
    end: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The command has ended. Always the last event, and always sent."""

    exit_code: int | None
    """The status; 128 + n after signal n, as a shell says it; ``None`` when the end was not seen (``lost``)."""
    signal: int | None = None
    timed_out: bool = False
    oom: bool = False
    lost: bool = False


ExecEvent: TypeAlias = Started | Output | Gap | Exited


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimit:
    """How much output a result keeps, per stream: the first ``head`` and the last ``tail`` bytes."""

    head: int = 1 * MIB
    tail: int = 9 * MIB
    on_exceed: Literal["truncate", "raise"] = "truncate"
    """``truncate`` lets the command run on and drops the middle; ``raise`` kills it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """What is missing from a stream of a result, in bytes."""

    total: int
    kept_head: int
    kept_tail: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """A command that has ended."""

    exec_id: ExecId
    argv: tuple[str, ...]
    exit_code: int | None
    """The status; ``None`` only when the end was never seen."""
    signal: int | None = None
    timed_out: bool = False
    oom: bool = False
    stdout_bytes: bytes = b""
    stderr_bytes: bytes = b""
    output_bytes: bytes = b""
    """Both streams in order of arrival."""
    truncated: Mapping[Stream, Truncation] = field(default_factory=dict)
    duration: float = 0.0
    """Seconds from start to end."""

    @property
    def ok(self) -> bool:
        """Whether the status is zero."""
        return self.exit_code == 0

    @property
    def stdout(self) -> str:
        """Standard output as UTF-8 text; bytes that are none become U+FFFD."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as UTF-8 text; bytes that are none become U+FFFD."""
        return self.stderr_bytes.decode("utf-8", "replace")

    @property
    def output(self) -> str:
        """Both streams in order of arrival, as UTF-8 text."""
        return self.output_bytes.decode("utf-8", "replace")

    @property
    def ending(self) -> str:
        """How it ended, in a few words: ``status 0 after 1.2 s``."""
        state = "lost" if self.exit_code is None else f"status {self.exit_code}"
        return f"{'killed at its time limit' if self.timed_out else state} after {self.duration:.1f} s"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> models.display.Bundle:  # noqa: ARG002 - Jupyter's own
        """Show it in a notebook: how it ended, and the end of what it printed."""
        show = models.display
        head = f"{' '.join(self.argv)} — {self.ending}"
        text = self.output
        return show.bundle(
            f"{head}\n{show.last_lines(show.plain(text))[0]}", show.output(head, text, cut=bool(self.truncated))
        )

    def check(self) -> Self:
        """Return the result itself when the status is zero.

        Raises:
            ExecTimeout: When the command was killed at its time limit.
            ExecFailed: When the status is anything but zero.
        """
        if self.timed_out:
            raise ExecTimeout(f"{self.argv[0]} was killed at its time limit after {self.duration:.1f} s", result=self)
        if not self.ok:
            raise ExecFailed(f"{self.argv[0]} ended with status {self.exit_code}", result=self)
        return self
