"""What a case about terminals is, and what it has at hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from nexus.abc.terminals import TerminalAccess, TerminalSession
from nexus.errors import NexusError
from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    AttachRequest,
    TerminalEvent,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalRequest,
)
from nexus.testing.expecting import ExpectationFailed, expect, expect_equal


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSubject:
    """The terminals of a workspace that runs."""

    terminals: TerminalAccess
    pause: Callable[[], Awaitable[object]] | None = None
    """Freezes the workspace; cases about that do not apply without it."""
    resume: Callable[[], Awaitable[object]] | None = None
    stop: Callable[[], Awaitable[object]] | None = None
    """Stops the workspace; cases about that do not apply without it."""
    start: Callable[[], Awaitable[object]] | None = None
    bulk: int = 2 * 1024 * 1024
    """Bytes that the cases about slow readers move; more than any buffer on the way may hold."""
    patience: float = 60.0
    """Seconds after which a case that does not end has failed."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What one attachment has been given."""

    session: TerminalSession
    events: list[TerminalEvent] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    """The bytes since the last gap, without a break."""
    begin: int = 0
    """Offset of the first of them."""

    def take(self, event: TerminalEvent) -> None:
        """Check and note an event."""
        expect(
            not self.events or not isinstance(self.events[-1], TerminalExited),
            f"nothing comes after the exit, but {event}",
        )
        self.events.append(event)
        match event:
            case TerminalGap(start=start, end=end):
                expect_equal(start, self.begin + len(self.data), "where a gap begins")
                self.begin, self.data = end, bytearray()
            case TerminalOutput(offset=offset, data=data):
                expect(data, "output holds bytes")
                expect_equal(offset, self.begin + len(self.data), "the offset of output")
                self.data += data
            case _:
                pass

    async def until(self, wanted: bytes) -> bytes:
        """Receive until this was printed since the last gap; return everything since then."""
        while wanted not in self.data:
            event = await self.session.receive()
            self.take(event)
            if isinstance(event, TerminalExited) and wanted not in self.data:
                raise ExpectationFailed(
                    f"the program ended before it printed {wanted!r}; it printed {bytes(self.data[-300:])!r}"
                )
        return bytes(self.data)

    async def to_end(self) -> bytes:
        """Receive until the program has ended; return everything since the last gap."""
        while True:
            try:
                self.take(await self.session.receive())
            except anyio.EndOfStream:
                expect(self.events and isinstance(self.events[-1], TerminalExited), "the exit is the last event")
                return bytes(self.data)


@dataclass(slots=True, kw_only=True)
class TerminalCheck:
    """One run of one case: opens terminals, and kills them behind itself."""

    subject: TerminalSubject
    opened: list[TerminalId] = field(default_factory=list)

    @property
    def terminals(self) -> TerminalAccess:
        """The terminals under test."""
        return self.subject.terminals

    async def open(self, *argv: str, **options: object) -> TerminalInfo:
        """Open a terminal; it is killed when the case ends."""
        info = await self.terminals.open(TerminalRequest(argv=argv, **options))  # type: ignore[arg-type]
        self.opened.append(info.id)
        return info

    async def sh(self, script: str, **options: object) -> TerminalInfo:
        """Open a terminal in which a shell script runs."""
        return await self.open("sh", "-c", script, **options)

    async def attach(self, terminal: TerminalId, request: AttachRequest | None = None) -> Seen:
        """Attach, and follow."""
        session = await self.terminals.attach(terminal, request or AttachRequest(replay="all"))
        return Seen(session=session, begin=session.point.start)

    async def clean_up(self) -> None:
        """Kill what was opened."""
        for terminal in self.opened:
            try:
                await self.terminals.kill(terminal, grace=0.1)
            except NexusError:
                continue


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalCase:
    """One promise of ``nexus.abc.terminals``."""

    name: str
    promise: str
    """The promise, in one sentence."""
    run: Callable[[TerminalCheck], Awaitable[None]]


def case(function: Callable[[TerminalCheck], Awaitable[None]]) -> TerminalCase:
    """Make a case of a function: its name becomes the case's, its docstring the promise."""
    name = getattr(function, "__name__", "").replace("_", "-")
    return TerminalCase(name=name, promise=(function.__doc__ or "").strip(), run=function)
