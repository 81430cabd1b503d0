"""The events of one command: read by one task at a time, gathered for the result, and let go of in the end."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from typing import Final

import anyio

from nexus.abc.provider import ProcessHandle
from nexus.errors import Conflict, NexusError, OutputLimitExceeded
from nexus.handles.beside import beside
from nexus.handles.cleanup import clean_up
from nexus.handles.collect import Collector
from nexus.models.execution import ExecEvent, ExecResult, Exited, OutputLimit, SpawnRequest, Started

_CLOSE_MARGIN: Final = 10.0
"""Seconds that letting go may take on top of the command's own grace."""
_LAST_EVENTS: Final = 1.0
"""Seconds to wait for the last events of a command that has been ended."""
_RECHECK: Final = 0.05
"""Seconds between looks at whether another task still reads; it may have dropped its reader without a word."""


class EventSource:
    """Where the events of a command are read.

    Args:
        handle: The provider's end of the command.
        request: What was asked for.
        limit: How much output is gathered.
    """

    def __init__(self, handle: ProcessHandle, request: SpawnRequest, limit: OutputLimit) -> None:
        self.handle = handle
        self.request = request
        self.pid: int | None = None
        self._collector = Collector(limit)
        self._begun = time.monotonic()
        self._duration = 0.0
        self._result: ExecResult | None = None
        self._reader: weakref.ref[Reader] | None = None

    @property
    def exited(self) -> Exited | None:
        """The last event, once it has been read."""
        return self._collector.exited

    @property
    def limit(self) -> OutputLimit:
        """How much output is gathered."""
        return self._collector.limit

    @property
    def exceeded(self) -> bool:
        """Whether a stream has outgrown the limit."""
        return self._collector.exceeded is not None

    def relimit(self, limit: OutputLimit) -> None:
        """Gather under another limit from now on. Without effect once there is a result."""
        if self._result is None:
            self._collector = self._collector.under(limit)

    async def read_to_end(
        self,
        *,
        on_event: Callable[[ExecEvent], None] | None = None,
        stop_when_exceeded: bool = False,
        closing: bool = False,
    ) -> None:
        """Read until the command has ended. While another task reads, watch it do so.

        Args:
            on_event: Called with each event that is read here.
            stop_when_exceeded: Return as soon as a stream has outgrown the limit.
            closing: Take over from a reader that is not waiting for an event at this moment.

        Cancellation: nothing is lost.
        """
        reader = Reader(self)
        while self.exited is None and not (stop_when_exceeded and self.exceeded):
            if self.is_taken(reader, even_idle=not closing):
                await anyio.sleep(_RECHECK)
                continue
            event = await reader.receive(take_over=closing)
            if event is not None and on_event is not None:
                on_event(event)

    async def let_go(self, body: BaseException | None = None) -> None:
        """Let the provider end the command, and read what it still says.

        Args:
            body: The error that is on its way already; a failure here becomes a note on it.

        Raises:
            CleanupError: When the provider failed or took too long, and there is no ``body``.

        Cancellation: goes through with it all the same.
        """
        limit = self.request.grace + _CLOSE_MARGIN
        await clean_up(self._end, what=f"command {self.request.argv[0]}", timeout=limit, body=body)

    def result(self) -> ExecResult:
        """Return what was gathered. The first call fixes it."""
        if self._result is None:
            duration = time.monotonic() - self._begun if self.exited is None else self._duration
            self._result = self._collector.result(
                exec_id=self.handle.exec_id, argv=self.request.argv, duration=duration
            )
        return self._result

    async def conclude(self) -> ExecResult:
        """Return the result of a command whose end, or limit, was reached.

        Raises:
            OutputLimitExceeded: When the limit says ``raise`` and a stream has outgrown it; the command has been ended.
        """
        if self.limit.on_exceed == "raise" and self.exceeded:
            program, most = self.request.argv[0], self.limit.head + self.limit.tail
            await self.let_go()
            raise OutputLimitExceeded(
                f"{program} printed more than {most} bytes and was ended",
                result=self.result(),
                hint="raise the limit, or let it truncate",
            )
        return self.result()

    def is_taken(self, reader: Reader, *, even_idle: bool) -> bool:
        """Return whether another reader has the events.

        One in this very task does not count: it cannot be waiting for an event while the task is here.
        """
        other = self._reader() if self._reader else None
        if other is None or other is reader:
            return False
        return other.busy or (even_idle and other.task != anyio.get_current_task().id)

    def claim(self, reader: Reader) -> None:
        """Make this reader the one that has the events."""
        self._reader = weakref.ref(reader)

    def take(self, event: ExecEvent) -> None:
        """Gather an event that was read."""
        self._collector.add(event)
        if isinstance(event, Started):
            self.pid = event.pid
        elif isinstance(event, Exited):
            self._duration = time.monotonic() - self._begun

    async def _end(self) -> None:
        ended = anyio.Event()

        async def read_the_rest() -> None:
            # A command that says goodbye must not block on a pipe that nobody reads. What cannot be read is not needed: providers
            # may drop output on their side at the same time. They are not told to end it by a plain TERM and KILL from here,
            # since only they reach the members of the group that outlive its leader.
            with contextlib.suppress(NexusError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                await self.read_to_end(closing=True)
            ended.set()

        async def end() -> None:
            await self.handle.aclose()
            with anyio.move_on_after(_LAST_EVENTS):
                await ended.wait()

        await beside(end, read_the_rest)
        if self.exited is None:
            self.take(Exited(exit_code=None, lost=True))


class Reader:
    """One who reads the events. It lives as long as somebody holds it: a loop that was left has dropped its own."""

    def __init__(self, source: EventSource) -> None:
        self._source = source
        self.task = anyio.get_current_task().id
        self.busy = False

    async def receive(self, *, take_over: bool = False) -> ExecEvent | None:
        """Return the next event; ``None`` after the last.

        Args:
            take_over: Go before a reader of another task that is not waiting for an event at this moment.

        Raises:
            Conflict: When another task is reading.

        Cancellation: nothing is lost.
        """
        source = self._source
        if source.exited is not None:
            return None
        if self.busy or source.is_taken(self, even_idle=not take_over):
            raise Conflict(
                f"another task is reading the events of {source.request.argv[0]}",
                hint="read in one place and pass on what the others need; wait() may be called anywhere",
            )
        self.task = anyio.get_current_task().id
        source.claim(self)
        self.busy = True
        try:
            event = await source.handle.receive()
        except anyio.EndOfStream:
            event = Exited(exit_code=None, lost=True)  # a provider that forgets its last event must not hang us
        finally:
            self.busy = False
        source.take(event)
        return event
