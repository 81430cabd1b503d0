"""One running command of a container."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

from nexus.errors import NexusError, ProviderUnavailable
from nexus.models.execution import ExecEvent, Exited, Output, SpawnRequest, Started, Stream
from nexus.models.ids import ExecId
from nexus.providers.docker.exec_control import ExecControl
from nexus.providers.docker.exec_input import CommandInput
from nexus.providers.docker.exec_marks import Began, Ended, Idle, Refused
from nexus.providers.docker.exec_output import Item, OutputAssembler
from nexus.providers.docker.exec_rest import Rest
from nexus.providers.docker.exec_stream import Hijacked
from nexus.providers.docker.failures import start_failure
from nexus.providers.docker.shielding import finish

_CHUNK: Final = 64 * 1024
_POLL: Final = 0.1
_LOOK: Final = 1.0
_END_UNKNOWN: Final = 5.0
"""Seconds to wait for the engine to say how a command ended whose connection has ended."""
_SLACK: Final = 15.0


class DockerProcess:
    """A command, its stream and its end. Made by :func:`nexus.providers.docker.spawning.spawn`.

    Nothing is read before somebody receives, so the engine, and at last the command, waits for its reader.

    Args:
        exec_id: Our id for it.
        request: What was asked for.
        stream: Its connection.
        control: What can be done to it beside.
        assembler: Takes its bytes apart.
        reports: Whether a shell above it reports its start and end; otherwise the engine is asked while it is silent.
        gone: Called once when it needs no more looking after.
        reuse: Called, in place of closing the connection, when the shell at its other end is ready for another command.
    """

    def __init__(
        self,
        *,
        exec_id: ExecId,
        request: SpawnRequest,
        stream: Hijacked,
        control: ExecControl,
        assembler: OutputAssembler,
        reports: bool,
        gone: Callable[[DockerProcess], None],
        reuse: Callable[[], None] | None = None,
    ) -> None:
        self._id = exec_id
        self._request = request
        self._stream = stream
        self._control = control
        self._assembler = assembler
        self._reports = reports
        self._gone = gone
        self._reuse = reuse
        self._idle = 0
        self._released = False
        self._signalled = False
        self._reading = asyncio.Lock()
        self._pending: deque[Started | Output] = deque()
        self._group: int | None = None
        self._refused: Refused | None = None
        self._status: Ended | None = None
        self._rest = Rest()
        self._eof = False
        self._exit: Exited | None = None
        self._exit_given = False
        self._timed_out = False
        self._ending: asyncio.Task[bool] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._input = CommandInput(stream.writer, request)

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""
        return self._id

    async def begin(self, *, deadline: float) -> None:
        """Wait until the command runs.

        Raises:
            ExecStartError: When it cannot be started.
            ProviderUnavailable: When the engine does not say so in time.
        """
        try:
            async with asyncio.timeout(deadline):
                pid = await (self._await_mark() if self._reports else self._await_engine())
        except TimeoutError as exc:
            raise ProviderUnavailable(
                f"the container engine did not start {self._request.argv[0]} within {deadline:g} s",
                hint="the host may be overloaded; see `docker stats`",
            ) from exc
        self._pending.appendleft(Started(exec_id=self._id, pid=pid))
        pty = self._request.pty
        if pty is not None:
            await self._control.resize(pty.rows, pty.cols)
        self._input.begin()
        if self._request.timeout is not None:
            self._watch = asyncio.create_task(self._enforce(self._request.timeout))

    async def _await_mark(self) -> int:
        began: Began | None = None
        while began is None:
            try:
                data = await self._stream.reader.read(_CHUNK)
            except OSError:
                data = b""
            for item in self._assembler.feed(data) if data else self._assembler.finish():
                if isinstance(item, Began):
                    began = item
                else:
                    self._keep(item)
            if self._refused is not None:
                raise self._refused.explain(self._request)
            if not data:
                facts = await self._control.inspect()
                raise self._start_failure(facts.exit_code if facts is not None else None)
        self._group = began.group
        return began.pid

    async def _await_engine(self) -> None:
        """Wait for the engine to say that the program runs, or has run."""
        while True:
            facts = await self._control.inspect()
            if facts is None:
                raise self._start_failure(None)
            if facts.running and facts.pid:
                return
            if not facts.running and facts.exit_code is not None:
                if facts.exit_code in {126, 127} and not facts.pid:
                    while data := await self._stream.reader.read(_CHUNK):
                        for item in self._assembler.feed(data):
                            self._keep(item)
                    text = self._printed()
                    if "exec failed" in text or "starting container process" in text:
                        raise start_failure(self._request.argv, text, facts.exit_code, self._request.cwd)
                return
            await asyncio.sleep(0.01)

    def _start_failure(self, code: int | None) -> NexusError:
        return start_failure(self._request.argv, self._printed(), code, self._request.cwd)

    def _printed(self) -> str:
        data = b"".join(item.data for item in self._pending if isinstance(item, Output))
        return data[:4096].decode("utf-8", "replace")

    async def receive(self) -> ExecEvent:
        """Return the next event; see :class:`nexus.abc.ProcessHandle`. Cancelled: nothing is lost."""
        while True:
            if self._pending:
                return self._pending.popleft()
            if self._exit_given:
                raise anyio.EndOfStream
            if self._exit is not None:
                self._exit_given = True
                return self._exit
            await self._step()

    async def _step(self) -> None:
        """Take one piece from the connection, or find out how the command ended."""
        async with self._reading:
            if self._pending or self._exit is not None:
                return
            if self._eof or self._drained or self._rest.is_over(self._now()):
                self._conclude(await self._find_exit())
                return
            before = self._now()
            try:
                async with asyncio.timeout(self._patience()):
                    data = await self._stream.reader.read(_CHUNK)
            except TimeoutError:
                await self._ask()
                return
            except OSError:
                data = b""
            finally:
                self._rest.waited(before, self._now())
            self._take(data)

    @property
    def _drained(self) -> bool:
        """Whether a prepared shell has said on both streams that nothing of this command follows."""
        return self._idle == len((Stream.STDOUT, Stream.STDERR))

    @property
    def _polls(self) -> bool:
        """Whether only the engine can tell the end: no shell reports, or it is being killed with its group."""
        return not self._reports or self._ending is not None

    def _patience(self) -> float:
        """Return how long to wait for output before looking at the command again."""
        left = self._rest.patience(self._now())
        if left is not None:
            return left
        return _POLL if self._polls else _LOOK

    async def _ask(self) -> None:
        """Ask the engine whether the command still runs, when nobody else reports its end."""
        if self._rest.ended or not self._polls:
            return
        try:
            facts = await self._control.inspect()
        except NexusError:
            return  # the connection itself will tell, when the engine is gone
        if facts is None or not facts.running:
            self._rest.end(self._now())

    def _take(self, data: bytes) -> None:
        if not data:
            self._eof = True
        self._rest.came(len(data))
        for item in self._assembler.feed(data) if data else self._assembler.finish():
            self._keep(item)

    def _keep(self, item: Item) -> None:
        if isinstance(item, Output):
            self._pending.append(item)
        elif isinstance(item, Idle):
            self._idle += 1
        elif isinstance(item, Ended):
            self._status = item
            self._rest.end(self._now())
        elif isinstance(item, Refused):
            self._refused = item

    async def _find_exit(self) -> Exited:
        if self._status is not None:
            return self._exited(self._status.status, oom=self._status.oom)
        until = self._now() + _END_UNKNOWN
        pause = 0.005
        while self._now() < until:
            try:
                facts = await self._control.inspect()
            except NexusError:
                break
            if facts is None:
                break
            if not facts.running and facts.exit_code is not None:
                # Nobody but the kernel or the engine ends the reporting shell: either memory ran out or the container stopped.
                killed = facts.exit_code == 137 and self._ending is None
                return self._exited(facts.exit_code, oom=killed and await self._control.out_of_memory())
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.25)
        return Exited(exit_code=None, timed_out=self._timed_out, lost=True)

    def _exited(self, code: int, *, oom: bool) -> Exited:
        number = code - 128 if 128 < code <= 128 + 64 else None
        return Exited(exit_code=code, signal=number, timed_out=self._timed_out, oom=oom)

    def _conclude(self, end: Exited) -> None:
        self._exit = end
        self._input.end()
        self._let_stream_go()
        # A group that is being ended is ended to the last member, whether or not its leader is gone.
        if self._ending is None and self._watch is not None:
            self._watch.cancel()
        if self._ending is None or self._ending.done():
            self._gone(self)

    def _let_stream_go(self) -> None:
        # A signal that is on its way must not find the shell's next command.
        reuse, self._reuse = self._reuse, None
        disturbed = self._signalled or self._timed_out or self._ending is not None
        if reuse is not None and self._drained and not disturbed and self._assembler.clean:
            self._released = True
            reuse()
        elif not self._released:
            self._stream.close()

    async def write(self, data: bytes) -> None:
        """Write to standard input; returns when the bytes are handed over.

        Cancelled: part of ``data`` may have been handed over.

        Raises:
            StdinClosed: When standard input was not asked for or is closed, or the command has ended.
        """
        await self._input.write(data)

    async def close_stdin(self) -> None:
        """Send end of file to standard input. Closing twice is fine, and so is a command that has ended."""
        await self._input.close()

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole process group. A command that has ended is fine."""
        if self._exit is None and self._status is None:
            self._signalled = True
            await self._control.signal(self._group, number)

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the command's terminal its size. Without a terminal, or after the end: nothing."""
        if self._request.pty is not None and self._exit is None:
            await self._control.resize(rows, cols)

    async def _enforce(self, limit: float) -> None:
        """End the group at its time limit, whether anybody reads or not."""
        await asyncio.sleep(limit)
        while self._exit is None and self._status is None:
            self._timed_out = True
            try:
                await self._end()
            except NexusError:
                # Paused, or the engine is away for a moment: the limit still holds when it is back.
                self._ending = None
                await asyncio.sleep(0.5)
                continue
            if self._concluded():
                self._gone(self)
            return

    def _concluded(self) -> bool:
        return self._exit is not None

    async def _end(self) -> None:
        """End the group once, however many ask for it."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._control.end(self._group, self._request.grace))
        if not await asyncio.shield(self._ending) and self._exit is None:
            self._timed_out = False

    async def aclose(self) -> None:
        """Let go of the command: if it still runs its group is ended as at a time-out.

        Cancelled: the group is ended all the same, within ``grace`` and a few seconds, before the cancellation goes on.
        """
        try:
            await finish(self._let_go(), limit=self._request.grace + 2 * _SLACK)
        except TimeoutError:
            self._lose()

    def discard(self) -> None:
        """Forget a command that could not be started."""
        self._lose()
        self._let_stream_go()
        self._gone(self)

    async def abandon(self) -> None:
        """Let go of a command whose start was interrupted: it is waited for, so that there is something to end."""
        try:
            if self._reports and self._group is None and self._refused is None:
                async with asyncio.timeout(_SLACK):
                    await self._await_mark()
        except (NexusError, TimeoutError):
            self._lose()  # it never ran
        await self.aclose()

    async def _let_go(self) -> None:
        try:
            if self._exit is None or self._ending is not None:
                await self._end_and_drain()
        finally:
            for task in (self._watch, self._ending):
                if task is not None:
                    task.cancel()
                    await asyncio.wait([task])
            if self._exit is None:
                self._lose()
            self._pending.clear()
            self._let_stream_go()
            self._gone(self)

    async def _end_and_drain(self) -> None:
        over = self._exit is not None or self._status is not None
        ending = None if over and self._ending is None else asyncio.create_task(self._end_quietly())
        try:
            async with asyncio.timeout(self._request.grace + _SLACK) as limit:
                while self._exit is None:
                    # What it prints while it ends is thrown away, but taken: a full pipe would keep it from ending.
                    self._pending.clear()
                    await self._step()
                    if ending is not None and ending.done() and not ending.result():
                        # It cannot be ended: the engine is away, or the container has just stopped and will say so.
                        limit.reschedule(min(limit.when() or 0.0, self._now() + _LOOK))
                if ending is not None:
                    await ending
        except TimeoutError:
            pass
        finally:
            if ending is not None:
                ending.cancel()
                await asyncio.wait([ending])

    async def _end_quietly(self) -> bool:
        try:
            await self._end()
        except NexusError:
            return False
        return True

    def _lose(self) -> None:
        if self._exit is None:
            self._exit = Exited(exit_code=None, timed_out=self._timed_out, lost=True)
        self._input.end()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
