"""What a case is, and what it has at hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from nexus.abc import Instance, ProcessHandle, Provider
from nexus.models.execution import ExecEvent, Exited, Output, SpawnRequest, Started, Stream
from nexus.models.instances import Capability, InstanceSpec, InstanceState, ProviderInfo
from nexus.testing.expecting import ExpectationFailed, eventually, expect, expect_equal, expect_error, shortened


class NotApplicable(Exception):
    """The case is about something that this provider does not have, as its objects show."""


class SpecFactory(Protocol):
    """Makes the specification of a new instance."""

    def __call__(self) -> InstanceSpec:
        """Return a specification with a fresh id and name, a worktree of its own that exists, and what the image needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSubject:
    """The provider under test, open, and how to use it."""

    provider: Provider
    make_spec: SpecFactory
    """Called for each instance of a case. The suite may change the environment, labels and ports of what it returns."""
    reopen: Callable[[], AbstractAsyncContextManager[Provider]] | None = None
    """Opens another provider on the same backend, as another process would; cases about that do not apply without it."""
    listener: Callable[[int], tuple[str, ...]] | None = None
    """Returns a command that listens on this port inside, and sends ``here`` and a line end to whoever connects."""
    repeats: int = 100
    """How often the cases about lost output run their command."""
    bulk: int = 64 * 1024 * 1024
    """Bytes that the case about a slow reader moves; more than any buffer on the way may hold."""
    patience: float = 30.0
    """Seconds after which a case that does not end has failed. Many cases prove just that something does end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that has ended, with all it printed."""

    events: tuple[ExecEvent, ...]
    stdout: bytes
    stderr: bytes
    exited: Exited

    @property
    def status(self) -> int | None:
        """The exit status."""
        return self.exited.exit_code


@dataclass(slots=True, kw_only=True)
class Check:
    """One run of one case: makes instances and commands, and cleans up behind them."""

    subject: ProviderSubject
    info: ProviderInfo
    cleanup: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def provider(self) -> Provider:
        """The provider under test."""
        return self.subject.provider

    def spec(self, **changes: object) -> InstanceSpec:
        """Return a new specification; ``changes`` are fields of it."""
        return self.subject.make_spec().model_copy(update=changes)

    async def created(self, spec: InstanceSpec | None = None) -> Instance:
        """Return a new instance, stopped; it is destroyed when the case ends."""
        wanted = await self.provider.prepare(spec or self.spec())
        instance = await self.provider.create(wanted)
        self.cleanup.push_async_callback(self.provider.destroy, instance.ref)
        return instance

    async def running(self, spec: InstanceSpec | None = None) -> Instance:
        """Return a new instance that runs."""
        instance = await self.created(spec)
        await instance.start()
        return instance

    async def spawn(self, instance: Instance, request: SpawnRequest) -> ProcessHandle:
        """Start a command; it is let go of when the case ends. Its first event has been checked and taken."""
        process = await instance.spawn(request)
        self.cleanup.push_async_callback(process.aclose)
        first = await process.receive()
        expect(isinstance(first, Started), f"the first event is Started, not {first}")
        expect_equal(first.exec_id if isinstance(first, Started) else None, process.exec_id, "the id in Started")
        return process

    async def refused(self, kind: type[Exception], instance: Instance, request: SpawnRequest, what: str) -> Exception:
        """Fail unless starting the command raises an error of this class; return the error."""

        async def spawn() -> None:
            process = await instance.spawn(request)
            self.cleanup.push_async_callback(process.aclose)

        return await expect_error(kind, spawn, what)

    async def run(self, instance: Instance, request: SpawnRequest) -> Ran:
        """Run a command to its end."""
        return await finish(await self.spawn(instance, request), whole=True)

    async def sh(self, instance: Instance, script: str, *arguments: str) -> Ran:
        """Run a shell script to its end; ``arguments`` are its ``$1`` and so on."""
        return await self.run(instance, shell(script, *arguments))

    async def alive(self, instance: Instance, pid: str) -> bool:
        """Return whether a process inside still runs. One that ended and that nobody has buried does not count."""
        if (await self.sh(instance, f"kill -0 {pid} 2>/dev/null")).status != 0:
            return False
        stat = await self.run(instance, SpawnRequest(argv=("cat", f"/proc/{pid}/stat")))
        # Where there is no such file the answer of kill stands.
        return b") Z " not in stat.stdout

    async def expect_dead(self, instance: Instance, pids: bytes) -> None:
        """Fail unless all these processes end soon."""
        for pid in pids.decode().split():

            async def dead(number: str = pid) -> bool:
                return not await self.alive(instance, number)

            await eventually(dead, f"process {pid} inside has ended")


def shell(script: str, *arguments: str) -> SpawnRequest:
    """Return a request for a shell script."""
    return SpawnRequest(argv=("sh", "-c", script, "sh", *arguments))


async def finish(process: ProcessHandle, *, whole: bool = False) -> Ran:
    """Take every event up to the end, and check their order and offsets; ``whole`` when no output was taken before."""
    events: list[ExecEvent] = []
    streams = {stream: bytearray() for stream in Stream}
    begins = dict.fromkeys(Stream, 0) if whole else {}
    while True:
        try:
            event = await process.receive()
        except anyio.EndOfStream:
            break
        expect(not events or not isinstance(events[-1], Exited), f"nothing comes after Exited, but {event} did")
        expect(not isinstance(event, Started), "Started comes once")
        events.append(event)
        if isinstance(event, Output):
            expect(event.data, "an Output event holds bytes")
            wanted = begins.setdefault(event.stream, event.offset) + len(streams[event.stream])
            expect_equal(event.offset, wanted, f"the offset of {event.stream}")
            streams[event.stream] += event.data
    last = events[-1] if events else None
    if not isinstance(last, Exited):
        raise ExpectationFailed(f"Exited is the last event, not {last}")
    return Ran(
        events=tuple(events),
        stdout=bytes(streams[Stream.STDOUT]),
        stderr=bytes(streams[Stream.STDERR]),
        exited=last,
    )


async def read_until(process: ProcessHandle, wanted: bytes) -> bytes:
    """Take events until the output holds ``wanted``; return the output so far, both streams together."""
    seen = bytearray()
    while wanted not in seen:
        event = await process.receive()
        if isinstance(event, Exited):
            raise ExpectationFailed(
                f"the command ended before it printed {wanted!r}; it printed {shortened(bytes(seen))}"
            )
        if isinstance(event, Output):
            seen += event.data
    return bytes(seen)


async def expect_state(instance: Instance, wanted: InstanceState) -> None:
    """Fail unless the instance is seen in this state."""
    status = await instance.status()
    expect_equal(status.state, wanted, "the state")
    expect_equal(status.ref.id, instance.ref.id, "the id in the status")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCase:
    """One promise of ``nexus.abc.provider``."""

    name: str
    promise: str
    """The promise, in one sentence."""
    run: Callable[[Check], Awaitable[None]]
    needs: frozenset[Capability] = frozenset()
    """It applies to providers that can do all of this here and now …"""
    lacks: frozenset[Capability] = frozenset()
    """… and none of this."""

    def obstacle(self, check: Check) -> str | None:
        """Return why the case is not applicable, or ``None`` when it is."""
        if missing := self.needs - check.info.capabilities:
            return f"no capability {', '.join(sorted(missing))}"
        if present := self.lacks & check.info.capabilities:
            return f"has capability {', '.join(sorted(present))}"
        return None


def case(
    *needs: Capability, lacks: Capability | None = None
) -> Callable[[Callable[[Check], Awaitable[None]]], ProviderCase]:
    """Make a case of a function: its name becomes the case's, its docstring the promise."""

    def make(function: Callable[[Check], Awaitable[None]]) -> ProviderCase:
        return ProviderCase(
            name=getattr(function, "__name__", "").replace("_", "-"),
            promise=(function.__doc__ or "").strip(),
            run=function,
            needs=frozenset(needs),
            lacks=frozenset() if lacks is None else frozenset({lacks}),
        )

    return make
