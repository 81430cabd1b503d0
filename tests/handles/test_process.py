from __future__ import annotations

import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.abc.provider import ProcessHandle
from nexus.errors import (
    CleanupError,
    Conflict,
    ExecFailed,
    ExecTimeout,
    InvalidArgument,
    OutputLimitExceeded,
    ProcessLost,
    StdinClosed,
    WorkspaceUnreachable,
)
from nexus.handles.lines import LineSplitter
from nexus.handles.process import Process, run
from nexus.models.execution import ExecEvent, Exited, Gap, Output, OutputLimit, SpawnRequest, Started, Stream
from nexus.models.ids import ExecId

OUT, ERR = Stream.STDOUT, Stream.STDERR


@dataclass(frozen=True)
class Says:
    data: bytes
    stream: Stream = OUT


@dataclass(frozen=True)
class Reads:
    """Take one piece of standard input; with ``echo`` it is printed. At end of file the step is over, else it repeats."""

    echo: bool = True


@dataclass(frozen=True)
class Hangs:
    """Do nothing until a signal ends the command."""


@dataclass(frozen=True)
class Breaks:
    error: Exception


Step = Says | Reads | Hangs | Breaks | Gap | Exited


class ScriptedHandle:
    """A command in memory that keeps the contract of a process handle.

    It makes progress only while somebody receives, as a program does whose pipe is full; ``write`` returns only when it has read.
    """

    def __init__(self, *steps: Step, ends_on: Sequence[int] = (signal.SIGTERM,), reads: bool = True) -> None:
        self.exec_id = ExecId("ex_scripted")
        self.signals: list[int] = []
        self.closed = 0
        self.sizes: list[tuple[int, int]] = []
        self.given = bytearray()
        self.close_error: Exception | None = None
        self._steps: deque[Step] = deque(steps)
        self._ends_on = {*ends_on, signal.SIGKILL}
        self._reads = reads
        self._pending: deque[ExecEvent] = deque([Started(exec_id=self.exec_id, pid=42)])
        self._offsets = dict.fromkeys(Stream, 0)
        self._ended = False
        self._eof = False
        self._stdin: deque[bytes] = deque()
        self._changed = anyio.Condition()

    async def receive(self) -> ExecEvent:
        await anyio.lowlevel.checkpoint()
        while not self._pending:
            if self._ended and not self._steps:
                raise anyio.EndOfStream
            await self._advance()
        return self._pending.popleft()

    async def _advance(self) -> None:
        match self._steps[0]:
            case Says(data=data, stream=stream):
                self._print(stream, data)
                self._steps.popleft()
            case Gap(stream=stream, end=end) as gap:
                self._offsets[stream] = end
                self._pending.append(gap)
                self._steps.popleft()
            case Exited() as exited:
                self._steps.clear()
                self._pending.append(exited)
                self._ended = True
            case Breaks(error=error):
                raise error
            case Reads(echo=echo):
                await self._read(echo=echo)
            case Hangs():
                async with self._changed:
                    if isinstance(self._steps[0], Hangs):  # a signal may have come before the lock did
                        await self._changed.wait()

    async def _read(self, *, echo: bool) -> None:
        async with self._changed:
            while not self._stdin and not self._eof:
                if not isinstance(self._steps[0], Reads):
                    return
                await self._changed.wait()
            if not self._stdin:
                self._steps.popleft()
                return
            data = self._stdin.popleft()
            self.given += data
            if echo:
                self._print(OUT, data)
            self._changed.notify_all()

    def _print(self, stream: Stream, data: bytes) -> None:
        self._pending.append(Output(stream=stream, offset=self._offsets[stream], data=data))
        self._offsets[stream] += len(data)

    async def write(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        async with self._changed:
            if not self._reads or self._eof or self._ended:
                raise StdinClosed("the command no longer reads its standard input")
            self._stdin.append(data)
            self._changed.notify_all()
            while self._stdin:
                if not any(isinstance(step, Reads) for step in self._steps):
                    raise StdinClosed("the command no longer reads its standard input")
                await self._changed.wait()

    async def close_stdin(self) -> None:
        async with self._changed:
            self._eof = True
            self._changed.notify_all()

    async def signal(self, number: int) -> None:
        async with self._changed:
            self.signals.append(number)
            if number in self._ends_on and not self._ended:
                self._steps = deque([Exited(exit_code=128 + number, signal=number)])
            self._changed.notify_all()

    async def resize(self, rows: int, cols: int) -> None:
        self.sizes.append((rows, cols))

    async def aclose(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error
        if not self._ended:
            await self.signal(signal.SIGTERM)
            if signal.SIGTERM not in self._ends_on:
                await self.signal(signal.SIGKILL)


def request(*, stdin: bool = False) -> SpawnRequest:
    return SpawnRequest(argv=("tool", "--go"), stdin=stdin)


def process(*steps: Step, ends_on: Sequence[int] = (signal.SIGTERM,)) -> tuple[Process, ScriptedHandle]:
    handle = ScriptedHandle(*steps, ends_on=ends_on)
    return Process(handle, request(stdin=True)), handle


def test_scripted_handle_is_a_process_handle() -> None:
    assert isinstance(ScriptedHandle(), ProcessHandle)


# Iterating -----------------------------------------------------------------------------------------------------------


async def test_events_end_with_exited() -> None:
    p, _ = process(Says(b"a"), Says(b"b", ERR), Exited(exit_code=3))
    events = [event async for event in p]
    assert events == [
        Started(exec_id=ExecId("ex_scripted"), pid=42),
        Output(stream=OUT, offset=0, data=b"a"),
        Output(stream=ERR, offset=0, data=b"b"),
        Exited(exit_code=3),
    ]
    assert [event async for event in p] == []
    assert (p.pid, p.exit_code, p.argv, p.exec_id) == (42, 3, ("tool", "--go"), "ex_scripted")


async def test_iteration_goes_on_where_it_was_left() -> None:
    p, _ = process(Says(b"a"), Says(b"b"), Exited(exit_code=0))
    seen: list[ExecEvent] = []
    async for event in p:
        seen.append(event)
        if isinstance(event, Output):
            break
    seen += [event async for event in p]
    assert [event.data for event in seen if isinstance(event, Output)] == [b"a", b"b"]


async def test_second_reader_is_refused() -> None:
    p, handle = process(Hangs())
    started = anyio.Event()

    async def read() -> None:
        async for _ in p:
            started.set()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await started.wait()
        with pytest.raises(Conflict, match="another task"):
            await anext(aiter(p))
        await handle.signal(signal.SIGKILL)
    assert p.exit_code == 137


async def test_a_handle_without_exited_counts_as_lost() -> None:
    class Silent(ScriptedHandle):
        async def receive(self) -> ExecEvent:
            raise anyio.EndOfStream

    p = Process(Silent(), request())
    assert [event async for event in p] == [Exited(exit_code=None, lost=True)]


# Lines ---------------------------------------------------------------------------------------------------------------


async def test_lines_are_complete_and_the_last_is_flushed() -> None:
    p, _ = process(Says(b"on"), Says(b"e\r\ntw"), Says(b"warn\n", ERR), Says(b"o\n\nlast"), Exited(exit_code=0))
    assert [line async for line in p.lines()] == ["one", "warn", "two", "", "last"]


async def test_lines_by_stream() -> None:
    p, _ = process(Says(b"a"), Says(b"x\n", ERR), Says(b"b\n"), Says(b"y", ERR), Exited(exit_code=0))
    assert [line async for line in p.lines(merge=False)] == [(ERR, "x"), (OUT, "ab"), (ERR, "y")]


async def test_characters_cut_in_two() -> None:
    euro = "€".encode()
    p, _ = process(
        Says(euro[:1]), Says(euro[:2], ERR), Says(euro[1:] + b"\n"), Says(euro[2:], ERR), Exited(exit_code=0)
    )
    assert [line async for line in p.lines(merge=False)] == [(OUT, "€"), (ERR, "€")]


async def test_gap_ends_a_line() -> None:
    p, _ = process(Says(b"half"), Gap(stream=OUT, start=4, end=9), Says(b"rest\n"), Exited(exit_code=0))
    assert [line async for line in p.lines()] == ["half", "rest"]


@given(data=st.text(alphabet="aé€\n\r", max_size=60), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_lines_do_not_depend_on_chunks(data: str, cuts: list[int]) -> None:
    raw = data.encode()
    splitter = LineSplitter()
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    lines = [line for begin, end in pairwise(edges) for line in splitter.feed(raw[begin:end])]
    whole = data.split("\n")
    expected = whole if whole[-1] else whole[:-1]
    assert [*lines, *splitter.flush()] == [line.removesuffix("\r") for line in expected]


@given(data=st.text(alphabet="ab\n", max_size=60), longest=st.integers(1, 7), cut=st.integers(0, 60))
def test_long_lines_come_in_pieces(data: str, longest: int, cut: int) -> None:
    splitter = LineSplitter(longest)
    lines = [*splitter.feed(data[:cut].encode()), *splitter.feed(data[cut:].encode()), *splitter.flush()]
    assert "".join(lines) == data.replace("\n", "")
    assert all(len(line) <= longest for line in lines)


# Waiting -------------------------------------------------------------------------------------------------------------


async def test_wait_gathers_everything_and_is_idempotent() -> None:
    p, _ = process(Says(b"a"), Says(b"b", ERR), Says(b"c"), Exited(exit_code=1))
    result = await p.wait()
    assert (result.stdout, result.stderr, result.output, result.exit_code) == ("ac", "b", "abc", 1)
    assert await p.wait() is result


async def test_wait_after_a_loop_that_was_left() -> None:
    p, _ = process(Says(b"a"), Says(b"b"), Exited(exit_code=0))
    async for event in p:
        if isinstance(event, Output):
            break
    assert (await p.wait()).stdout == "ab"


async def test_wait_after_lines_that_were_left() -> None:
    p, _ = process(Says(b"a\nb"), Says(b"c\n"), Exited(exit_code=0))
    async for line in p.lines():
        assert line == "a"
        break
    assert (await p.wait()).stdout == "a\nbc\n"


async def test_wait_in_the_task_that_holds_an_iterator() -> None:
    p, _ = process(Says(b"a"), Says(b"b"), Exited(exit_code=0))
    held = aiter(p)
    await anext(held)
    assert (await p.wait()).stdout == "ab"
    with pytest.raises(StopAsyncIteration):
        await anext(held)


async def test_wait_beside_a_reader_steals_nothing() -> None:
    p, handle = process(Says(b"a"), Reads(), Says(b"b"), Exited(exit_code=0))
    seen: list[bytes] = []

    async def read() -> None:
        async for event in p:
            await anyio.lowlevel.checkpoint()
            if isinstance(event, Output):
                seen.append(event.data)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(p.wait)
        await handle.close_stdin()
    assert seen == [b"a", b"b"]
    assert (await p.wait()).stdout == "ab"


async def test_wait_goes_on_when_the_other_reader_leaves() -> None:
    p, _ = process(Says(b"a"), Says(b"b"), Exited(exit_code=0))
    leave = anyio.Event()

    async def read_one() -> None:
        async for event in p:
            if isinstance(event, Output):
                await leave.wait()
                break

    async with anyio.create_task_group() as group:
        group.start_soon(read_one)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(p.wait)
        await anyio.lowlevel.checkpoint()
        assert p.exit_code is None
        leave.set()
    assert (await p.wait()).stdout == "ab"


async def test_cancelled_wait_loses_nothing() -> None:
    p, handle = process(Says(b"a"), Reads(), Says(b"b"), Exited(exit_code=0))
    with anyio.move_on_after(0.01):
        await p.wait()
    await handle.close_stdin()
    assert (await p.wait()).stdout == "ab"
    assert handle.signals == []


async def test_wait_with_a_limit() -> None:
    p, _ = process(Says(b"0123456789"), Exited(exit_code=0))
    result = await p.wait(OutputLimit(head=2, tail=3))
    assert result.stdout == "01789"
    assert result.truncated[OUT].total == 10


async def test_wait_narrows_what_was_read_before() -> None:
    p, _ = process(Says(b"0123456789"), Says(b"ab"), Exited(exit_code=0))
    async for event in p:
        if isinstance(event, Output):
            break
    assert (await p.wait(OutputLimit(head=2, tail=3))).stdout == "019ab"


async def test_wait_that_raises_ends_the_command() -> None:
    p, handle = process(Says(b"0123456789"), Hangs())
    with pytest.raises(OutputLimitExceeded) as caught:
        await p.wait(OutputLimit(head=2, tail=3, on_exceed="raise"))
    assert caught.value.result.stdout == "01789"
    assert caught.value.result.signal == signal.SIGTERM
    assert handle.closed == 1


# Acting --------------------------------------------------------------------------------------------------------------


async def test_writing() -> None:
    p, handle = process(Reads(), Exited(exit_code=0))
    async with anyio.create_task_group() as group:
        group.start_soon(p.wait)
        await p.write("jé\n")
        await p.write(b"\x00raw")
        await p.write_eof()
        await p.write_eof()
    assert bytes(handle.given) == "jé\n".encode() + b"\x00raw"
    with pytest.raises(StdinClosed):
        await p.write("more")


async def test_signal_and_resize() -> None:
    p, handle = process(Hangs())
    await p.signal(signal.SIGUSR1)
    await p.signal(2)
    await p.resize(50, 132)
    assert handle.signals == [signal.SIGUSR1, 2]
    assert handle.sizes == [(50, 132)]
    for number in (0, -1, 1000):
        with pytest.raises(InvalidArgument):
            await p.signal(number)
    with pytest.raises(InvalidArgument):
        await p.resize(0, 10)


async def test_terminate_with_grace() -> None:
    p, handle = process(Hangs())
    result = await p.terminate()
    assert (result.exit_code, result.signal) == (143, 15)
    assert handle.signals == [signal.SIGTERM]


async def test_terminate_kills_what_ignores_it() -> None:
    p, handle = process(Hangs(), ends_on=())
    result = await p.terminate(grace=0.01)
    assert result.signal == signal.SIGKILL
    assert handle.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_terminate_after_the_end_sends_nothing() -> None:
    p, handle = process(Exited(exit_code=0))
    await p.wait()
    assert (await p.terminate()).exit_code == 0
    assert handle.signals == []


async def test_aclose_reads_the_last_words() -> None:
    p, _ = process(Says(b"bye"), Hangs())
    await p.aclose()
    await p.aclose()
    assert p.exit_code == 143
    assert (await p.wait()).signal == signal.SIGTERM
    assert [event async for event in p] == []


async def test_aclose_takes_over_from_an_idle_iterator_of_another_task() -> None:
    p, _ = process(Says(b"a"), Hangs())
    held = aiter(p)
    await anext(held)
    async with anyio.create_task_group() as group:
        group.start_soon(p.aclose)
    assert p.exit_code == 143


async def test_aclose_goes_through_when_cancelled() -> None:
    p, handle = process(Hangs())
    with anyio.CancelScope() as scope:
        scope.cancel()
        await p.aclose()
    assert handle.closed == 1
    assert p.exit_code == 143


async def test_failing_aclose_is_told() -> None:
    p, handle = process(Hangs())
    handle.close_error = WorkspaceUnreachable("engine away")
    with pytest.raises(CleanupError, match="engine away"):
        await p.aclose()


# run -----------------------------------------------------------------------------------------------------------------


async def test_run_gives_the_result_and_lets_go() -> None:
    handle = ScriptedHandle(Says(b"hi"), Exited(exit_code=2))
    seen: list[ExecEvent] = []
    result = await run(handle, request(), on_event=seen.append)
    assert (result.stdout, result.exit_code, result.argv) == ("hi", 2, ("tool", "--go"))
    assert [type(event) for event in seen] == [Started, Output, Exited]
    assert handle.closed == 1


async def test_run_feeds_more_than_any_pipe_holds() -> None:
    data = bytes(range(256)) * 4096
    handle = ScriptedHandle(Reads(), Exited(exit_code=0))
    result = await run(handle, request(stdin=True), input=data)
    assert result.stdout_bytes == data


async def test_run_with_text() -> None:
    result = await run(ScriptedHandle(Reads(), Exited(exit_code=0)), request(stdin=True), input="é")
    assert result.stdout == "é"


async def test_run_without_input_sends_end_of_file() -> None:
    assert (await run(ScriptedHandle(Reads(), Exited(exit_code=0)), request(stdin=True))).ok


async def test_run_survives_a_command_that_does_not_read() -> None:
    handle = ScriptedHandle(Says(b"ok"), Exited(exit_code=0), reads=False)
    assert (await run(handle, request(stdin=True), input=b"x" * 1_000_000)).stdout == "ok"


async def test_run_stops_feeding_when_the_command_has_ended() -> None:
    class Full(ScriptedHandle):
        async def write(self, data: bytes) -> None:
            await anyio.sleep_forever()
            self.given += data

    assert (await run(Full(Exited(exit_code=0)), request(stdin=True), input=b"x")).ok


async def test_run_refuses_input_that_nobody_would_get() -> None:
    handle = ScriptedHandle(Hangs())
    with pytest.raises(InvalidArgument):
        await run(handle, request(), input=b"x")
    assert handle.closed == 1


async def test_run_check() -> None:
    with pytest.raises(ExecFailed) as caught:
        await run(ScriptedHandle(Says(b"no"), Exited(exit_code=1)), request(), check=True)
    assert caught.value.result.stdout == "no"


async def test_run_time_out_has_the_partial_output() -> None:
    handle = ScriptedHandle(Says(b"part"), Exited(exit_code=143, signal=15, timed_out=True))
    with pytest.raises(ExecTimeout) as caught:
        await run(handle, request())
    assert caught.value.result.stdout == "part"


async def test_run_lost() -> None:
    handle = ScriptedHandle(Says(b"part"), Exited(exit_code=None, lost=True))
    with pytest.raises(ProcessLost) as caught:
        await run(handle, request())
    assert (caught.value.result.stdout, caught.value.result.exit_code) == ("part", None)


async def test_run_output_limit() -> None:
    handle = ScriptedHandle(Says(b"x" * 100), Hangs())
    with pytest.raises(OutputLimitExceeded) as caught:
        await run(handle, request(), limit=OutputLimit(head=10, tail=0, on_exceed="raise"))
    assert caught.value.result.stdout == "x" * 10
    assert handle.signals == [signal.SIGTERM]


async def test_cancelled_run_ends_the_command() -> None:
    handle = ScriptedHandle(Says(b"x"), Hangs(), ends_on=())
    with anyio.move_on_after(0.01) as scope:
        await run(handle, request())
    assert scope.cancelled_caught
    assert handle.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_run_raises_what_the_callback_raised() -> None:
    handle = ScriptedHandle(Says(b"x"), Hangs())

    def refuse(event: ExecEvent) -> None:
        raise KeyError(event)

    with pytest.raises(KeyError):
        await run(handle, request(stdin=True), on_event=refuse)
    assert handle.closed == 1


async def test_run_raises_what_the_provider_raised() -> None:
    handle = ScriptedHandle(Breaks(WorkspaceUnreachable("engine away")))
    with pytest.raises(WorkspaceUnreachable):
        await run(handle, request(stdin=True), input="x" * 200_000)
    assert handle.closed == 1


async def test_run_raises_what_feeding_raised() -> None:
    class Cut(ScriptedHandle):
        async def write(self, data: bytes) -> None:
            raise WorkspaceUnreachable(f"engine away, {len(data)} bytes unsent")

    with pytest.raises(WorkspaceUnreachable):
        await run(Cut(Hangs()), request(stdin=True), input="x")


async def test_failing_close_never_masks_the_error_of_a_run() -> None:
    handle = ScriptedHandle(Breaks(WorkspaceUnreachable("engine away")))
    handle.close_error = OSError("and more")
    with pytest.warns(RuntimeWarning, match="and more"), pytest.raises(WorkspaceUnreachable):
        await run(handle, request())
