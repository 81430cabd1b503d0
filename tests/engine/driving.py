"""Running commands in tests, to the end."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from nexus.abc import Instance, ProcessHandle
from nexus.models.execution import ExecEvent, Exited, Output, SpawnRequest, Started, Stream


@dataclass
class Ran:
    """Everything a command gave."""

    events: list[ExecEvent] = field(default_factory=list)

    @property
    def end(self) -> Exited:
        assert isinstance(self.events[-1], Exited)
        return self.events[-1]

    @property
    def started(self) -> Started:
        assert isinstance(self.events[0], Started)
        return self.events[0]

    @property
    def code(self) -> int | None:
        return self.end.exit_code

    @property
    def out(self) -> bytes:
        return self._stream(Stream.STDOUT)

    @property
    def err(self) -> bytes:
        return self._stream(Stream.STDERR)

    def _stream(self, stream: Stream) -> bytes:
        pieces = [event for event in self.events if isinstance(event, Output) and event.stream is stream]
        position = pieces[0].offset if pieces else 0
        for piece in pieces:
            assert piece.offset == position
            position += len(piece.data)
        return b"".join(piece.data for piece in pieces)


async def drain(process: ProcessHandle) -> Ran:
    """Receive everything, and see that it ends as promised."""
    ran = Ran()
    while True:
        try:
            ran.events.append(await process.receive())
        except anyio.EndOfStream:
            break
    assert sum(isinstance(event, Exited) for event in ran.events) == 1
    return ran


def command(*argv: str, **request: object) -> SpawnRequest:
    """Return a request for a command."""
    return SpawnRequest(argv=argv, **request)  # type: ignore[arg-type]  # checked by the class


async def run(instance: Instance, *argv: str, **request: object) -> Ran:
    """Run a command to its end."""
    return await drain(await instance.spawn(command(*argv, **request)))


async def sh(instance: Instance, script: str, **request: object) -> Ran:
    """Run a shell script to its end."""
    return await run(instance, "sh", "-c", script, **request)


async def read_until(process: ProcessHandle, wanted: bytes) -> bytes:
    """Receive until the output holds ``wanted``."""
    seen = b""
    while wanted not in seen:
        event = await process.receive()
        assert not isinstance(event, Exited), (seen, event)
        if isinstance(event, Output):
            seen += event.data
    return seen
