"""Sessions on one terminal, with a program that does what the test says."""

# ruff: noqa: ASYNC110 - the program of the tests rings no bell
from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

import anyio
import pytest
from anyio.lowlevel import checkpoint

from nexus.errors import StdinClosed, WorkspaceStopped
from nexus.models.execution import ExecEvent, Exited, Gap, Output, Pty, Started, Stream
from nexus.models.ids import ExecId, TerminalId, WorkspaceId
from nexus.models.terminals import (
    AttachRequest,
    TerminalChanged,
    TerminalEvent,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalOutput,
    TerminalResized,
    TerminalState,
)
from nexus.terminals.scrollback import Scrollback
from nexus.terminals.session import Session
from nexus.terminals.terminal import Plan, Terminal
from nexus.testing import ManualClock


class Program:
    """Stands for a provider's end of a command."""

    def __init__(self) -> None:
        self.events: deque[ExecEvent] = deque([Started(exec_id=ExecId("ex_1"), pid=7)])
        self.taken = 0
        self.sizes: list[tuple[int, int]] = []
        self.typed = b""
        self._offset = 0
        self._more = anyio.Event()

    @property
    def exec_id(self) -> ExecId:
        return ExecId("ex_1")

    def says(self, *events: bytes | ExecEvent) -> None:
        for event in events:
            if isinstance(event, bytes):
                self.events.append(Output(stream=Stream.STDOUT, offset=self._offset, data=event))
                self._offset += len(event)
            else:
                self._offset = event.end if isinstance(event, Gap) else self._offset
                self.events.append(event)
        self._more.set()

    async def receive(self) -> ExecEvent:
        while not self.events:
            self._more = anyio.Event()
            await self._more.wait()
        self.taken += 1
        return self.events.popleft()

    async def write(self, data: bytes) -> None:
        self.typed += data

    async def close_stdin(self) -> None: ...

    async def signal(self, number: int) -> None: ...

    async def resize(self, rows: int, cols: int) -> None:
        await checkpoint()
        self.sizes.append((rows, cols))

    async def aclose(self) -> None: ...


def make(capacity: int = 1000, start: int = 0) -> tuple[Terminal, Program]:
    plan = Plan(
        id=TerminalId("tm_0123456789abcdef"),
        workspace=WorkspaceId("w"),
        argv=("sh",),
        user=None,
        opened_in=None,
        scrollback=capacity,
        keep_alive=0,
        created_at=datetime.now(UTC),
    )
    kept = Scrollback(capacity, start=start)
    terminal, program = Terminal(plan, name="t", size=Pty(), kept=kept, clock=ManualClock()), Program()
    terminal.begin(program, survives=False)
    return terminal, program


async def serve(terminal: Terminal) -> None:
    end = await terminal.read()
    terminal.end(TerminalState.EXITED, TerminalExit(exit_code=end.exit_code))


async def everything(session: Session) -> list[TerminalEvent]:
    events: list[TerminalEvent] = []
    while True:
        try:
            events.append(await session.receive())
        except anyio.EndOfStream:
            return events


def text(events: list[TerminalEvent]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, TerminalOutput))


async def test_sizes_stand_where_they_were_set() -> None:
    terminal, program = make()
    session = terminal.attach(AttachRequest(replay="all"))
    async with anyio.create_task_group() as group:
        group.start_soon(serve, terminal)
        program.says(b"at 80;")
        while terminal.kept.newest < 6:
            await checkpoint()
        await session.resize(24, 100)
        program.says(b"at 100;", Exited(exit_code=0))
    events = [event for event in await everything(session) if not isinstance(event, TerminalChanged)]
    match events:
        case [
            TerminalOutput(data=b"at 80;"),
            TerminalResized(mark=mark),
            TerminalOutput(data=b"at 100;"),
            TerminalExited(),
        ]:
            assert (mark.at_offset, mark.cols) == (6, 100)
        case _:
            raise AssertionError(events)
    late = terminal.attach(AttachRequest(replay="all", role="viewer"))
    assert [(mark.at_offset, mark.cols) for mark in late.point.resizes] == [(0, 80), (6, 100)]


async def test_of_a_storm_of_sizes_the_program_gets_few_and_the_last() -> None:
    terminal, program = make()
    session = terminal.attach(AttachRequest())
    async with anyio.create_task_group() as group:
        for cols in range(1, 200):
            group.start_soon(session.resize, 30, cols)
    assert program.sizes[-1] == (30, 199)
    assert len(program.sizes) < 10
    assert terminal.size.cols == 199


async def test_what_a_new_terminal_prints_waits_for_whoever_opened_it() -> None:
    terminal, program = make(capacity=1000)
    terminal.expect()
    printed = [bytes([65 + n]) * 100 for n in range(20)]
    program.says(*printed, Exited(exit_code=0))
    async with anyio.create_task_group() as group:
        group.start_soon(serve, terminal)
        while terminal.kept.newest <= 500:
            await checkpoint()
        for _ in range(20):
            await checkpoint()
        assert terminal.kept.oldest == 0, "half of what is kept, and what came last, but nothing is dropped"
        events = await everything(terminal.attach(AttachRequest(replay="all")))
    assert text(events) == b"".join(printed)


async def test_a_new_terminal_at_which_nobody_looks_is_waited_for_only_for_a_while() -> None:
    terminal, program = make(capacity=100)
    terminal.patience = 0.05
    terminal.expect()
    program.says(*[b"x" * 60] * 10, Exited(exit_code=0))
    with anyio.fail_after(60):
        await serve(terminal)
    assert terminal.kept.newest == 600


async def test_a_controller_that_hangs_holds_up_the_program_for_a_while_only() -> None:
    terminal, program = make(capacity=1000)
    terminal.patience = 0.05
    terminal.attach(AttachRequest(replay="all"))
    async with anyio.create_task_group() as group:
        group.start_soon(serve, terminal)
        program.says(*[b"x" * 100] * 50, Exited(exit_code=0))
        while program.taken < 7:
            await checkpoint()
        assert terminal.kept.newest <= 700, "half of what is kept may wait for the controller, and one piece more"
        with anyio.fail_after(30):
            while terminal.state is not TerminalState.EXITED:
                await anyio.sleep(0.01)
    assert terminal.kept.newest == 5000


async def test_a_controller_that_leaves_lets_the_program_go_on() -> None:
    terminal, program = make(capacity=1000)
    terminal.patience = 3600
    session = terminal.attach(AttachRequest(replay="all"))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(serve, terminal)
            program.says(*[b"x" * 100] * 50, Exited(exit_code=0))
            while program.taken < 7:
                await checkpoint()
            await session.detach()
    assert terminal.state is TerminalState.EXITED


async def test_what_a_backend_lost_is_told_to_everybody() -> None:
    terminal, program = make(start=1000)
    session = terminal.attach(AttachRequest(replay="all"))
    program.says(b"before", Gap(stream=Stream.STDOUT, start=6, end=50), b"after", Exited(exit_code=0))
    await serve(terminal)
    events = await everything(session)
    gaps = [(event.start, event.end) for event in events if isinstance(event, TerminalGap)]
    assert gaps == [(1000, 1050)], "what was overwritten before it was read is lost as well"
    assert text(events) == b"after"
    assert terminal.kept.newest == 1055


async def test_nothing_is_typed_where_no_program_runs() -> None:
    terminal, program = make()
    session = terminal.attach(AttachRequest())
    await session.write(b"ls\n")
    assert program.typed == b"ls\n"
    assert terminal.info.last_input_at is not None
    terminal.end(TerminalState.KEPT, None)
    with pytest.raises(WorkspaceStopped):
        await session.write(b"x")
    terminal.end(TerminalState.EXITED, TerminalExit(exit_code=0))
    with pytest.raises(StdinClosed):
        await session.write(b"x")


async def test_a_flood_of_titles_costs_one_event_each_time_one_looks() -> None:
    terminal, program = make(capacity=100_000)
    session = terminal.attach(AttachRequest(replay="none"))
    program.says(*[b"\x1b]2;%d\x07" % number for number in range(500)], Exited(exit_code=0))
    await serve(terminal)
    changes = [event for event in await everything(session) if isinstance(event, TerminalChanged)]
    assert len(changes) == 1
    assert changes[0].info.title == "499"
