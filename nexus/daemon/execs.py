"""The commands that the daemon runs. A command outlives the connection it was started on."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import TaskGroup
from typing_extensions import override

from nexus.abc.provider import ProcessHandle
from nexus.daemon.feeds import Feed, Policy
from nexus.daemon.inlets import Inlet
from nexus.errors import NexusError, NotFound, QuotaExceeded, StdinClosed
from nexus.models.execution import Exited, Gap, Output, SpawnRequest, Started, Stream
from nexus.models.ids import WorkspaceId
from nexus.wire.messages import Notification
from nexus.wire.methods.execs import DID_EXIT, DidExit, Exit, Offsets

STDOUT: Final = str(Stream.STDOUT)
STDERR: Final = str(Stream.STDERR)
_MOST_RUNNING: Final = 1024
_MOST_ENDED: Final = 256
"""Commands that have ended and that nobody has released."""
_KEPT_SECONDS: Final = 600.0
"""How long the end of a command is remembered that nobody has released."""
_CLOSING: Final = 10.0
_log: Final = logging.getLogger("nexus.daemon")


class RunningExec(Feed):
    """A command and what it prints.

    Args:
        handle: The provider's end of it.
        request: What was asked for.
        workspace: Where it runs.
        name: What that is called.
        session: The session it ends with; ``None`` for one that was detached.
        policy: What becomes of output that nobody takes.
        capacity: Bytes that are kept of each channel.
        labels: The client's own.
    """

    def __init__(
        self,
        handle: ProcessHandle,
        request: SpawnRequest,
        *,
        workspace: WorkspaceId,
        name: str,
        session: str | None,
        policy: Policy,
        capacity: int,
        labels: Mapping[str, str],
    ) -> None:
        channels = (STDOUT,) if request.pty is not None else (STDOUT, STDERR)
        super().__init__(handle.exec_id, channels, capacity, policy)
        self.handle = handle
        self.request = request
        self.workspace = workspace
        self.name = name
        self.session = session
        self.labels = labels
        self.pid: int | None = None
        self.started = anyio.Event()
        self.started_at_ms = round(time.time() * 1000)
        self.exit: Exit | None = None
        self.ended_at = 0.0
        self.stdin: Inlet | None = Inlet() if request.stdin else None
        self.scope = anyio.CancelScope()
        self.stdin_closed = False
        self._begun = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether its end was not seen yet."""
        return self.exit is None

    async def run(self) -> None:
        """Take what it prints until it has ended, and let go of it."""
        try:
            with self.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._feed_stdin)
                    await self._read()
                    group.cancel_scope.cancel()
        except* Exception as failure:  # noqa: BLE001 - a provider's failure is the end of this command alone
            _log.error("command %s was lost: %s", self.id, type(failure.exceptions[0]).__name__)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(self.request.grace + _CLOSING):
                await self._let_go()
            self.started.set()
            if self.exit is None:
                self._over(Exited(exit_code=None, lost=True))

    async def _read(self) -> None:
        while True:
            event = await self.handle.receive()
            match event:
                case Output(stream=stream, offset=offset, data=data):
                    self.log.lose(str(stream), offset)
                    await self.put(str(stream), data)
                case Gap(stream=stream, end=end):
                    self.log.lose(str(stream), end)
                    self.wake()
                case Started(pid=pid):
                    self.pid = pid
                    self.started.set()
                case Exited():
                    self._over(event)
                    return

    def _over(self, event: Exited) -> None:
        self.exit = Exit(
            exit_code=event.exit_code,
            signal=event.signal,
            timed_out=event.timed_out,
            oom=event.oom,
            lost=event.lost,
            duration_ms=round((time.monotonic() - self._begun) * 1000),
        )
        self.ended_at = anyio.current_time()
        self.end()

    async def _let_go(self) -> None:
        try:
            await self.handle.aclose()
        except NexusError as error:
            _log.warning("command %s could not be let go of: %s", self.id, error.message)

    async def _feed_stdin(self) -> None:
        inlet = self.stdin
        if inlet is None:
            return
        try:
            while True:
                data = await inlet.receive()
                await self.handle.write(data)
                inlet.done(len(data))
        except anyio.EndOfStream:
            await self.handle.close_stdin()
        except StdinClosed:
            self.stdin_closed = True
            inlet.break_off()
            if inlet.on_taken is not None:
                inlet.on_taken(inlet.taken)

    async def terminate(self, grace: float) -> Exit:
        """End it: TERM for its group, and KILL when it still runs after ``grace`` seconds. Its output waits for nobody any more."""
        self.let_run()
        if self.running:
            await self.handle.signal(signal.SIGTERM)
            with anyio.move_on_after(grace):
                await self.ended.wait()
        if self.running:
            await self.handle.signal(signal.SIGKILL)
            await self.ended.wait()
        assert self.exit is not None  # noqa: S101 - set before ``ended`` is
        return self.exit

    @override
    def last_words(self) -> Notification | None:
        if self.exit is None:
            return None
        told = DidExit(exec=self.id, exit=self.exit, stream_ends=Offsets(**self.log.newest))
        return Notification(DID_EXIT.name, told.model_dump(mode="json", by_alias=True))


class Execs:
    """Every command that is known, by id.

    Args:
        group: Where they are attended to: it ends with the daemon.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._known: dict[str, RunningExec] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._turns: dict[tuple[str, str], anyio.Lock] = {}

    def __len__(self) -> int:
        return sum(1 for each in self._known.values() if each.running)

    def all(self) -> list[RunningExec]:
        """Return every command, the oldest first."""
        return list(self._known.values())

    def room(self) -> None:
        """Return when one more may be started.

        Raises:
            QuotaExceeded: When too many run.
        """
        if len(self) >= _MOST_RUNNING:
            raise QuotaExceeded(
                f"{_MOST_RUNNING} commands run already", hint="end some of them", details={"limit": _MOST_RUNNING}
            )

    @asynccontextmanager
    async def turn(self, key: tuple[str, str] | None) -> AsyncGenerator[None, None]:
        """Let one call at a time start a command by this key."""
        if key is None:
            yield
            return
        lock = self._turns.setdefault(key, anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting:
                self._turns.pop(key, None)

    def started_by(self, key: tuple[str, str] | None) -> RunningExec | None:
        """Return the command that was started by this key, as long as it is known."""
        return self._known.get(self._keys.get(key, "")) if key is not None else None

    def add(self, command: RunningExec, key: tuple[str, str] | None = None) -> None:
        """Attend to a command from now on.

        Args:
            command: The command.
            key: What it is found by when it is asked for again.
        """
        self._forget()
        self._known[command.id] = command
        if key is not None:
            self._keys[key] = command.id
        self._group.start_soon(command.run)

    def find(self, id: str) -> RunningExec:  # noqa: A002
        """Return a command.

        Raises:
            NotFound: When there is none of this id.
        """
        found = self._known.get(id)
        if found is None:
            raise self.unknown(id)
        return found

    @staticmethod
    def unknown(id: str) -> NotFound:  # noqa: A002
        """Return the error for an id that means no command."""
        return NotFound(f"there is no command {id!r}", details={"exec": id})

    async def release(self, command: RunningExec) -> None:
        """Forget a command; one that runs is ended: TERM, its grace, KILL.

        Cancellation: it is ended all the same.
        """
        self._known.pop(command.id, None)
        command.let_run()
        command.scope.cancel()
        await command.ended.wait()

    def end_session(self, session: str) -> None:
        """End the commands that belong to a session."""
        for command in self.all():
            if command.session == session:
                self._known.pop(command.id, None)
                command.let_run()
                command.scope.cancel()

    def _forget(self) -> None:
        """Forget the ends of commands that nobody has asked for in time."""
        ended = sorted((each for each in self._known.values() if not each.running), key=lambda each: each.ended_at)
        now = anyio.current_time()
        for at, command in enumerate(ended):
            if now - command.ended_at > _KEPT_SECONDS or len(ended) - at > _MOST_ENDED:
                self._known.pop(command.id, None)
        self._keys = {key: known for key, known in self._keys.items() if known in self._known}
