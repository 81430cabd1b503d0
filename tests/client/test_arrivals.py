"""What came of a terminal, in order: however the bytes are cut, and whenever a size is told, it stands at its place among them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from nexus.client.arrivals import Arrivals
from nexus.models.execution import Pty
from nexus.models.ids import new_terminal_id, new_workspace_id
from nexus.models.terminals import (
    SOFT_RESET,
    ResizeMark,
    TerminalChanged,
    TerminalEvent,
    TerminalExit,
    TerminalExited,
    TerminalGap,
    TerminalInfo,
    TerminalOutput,
    TerminalResized,
    TerminalState,
)
from nexus.wire.methods.terminals import Attached

INFO = TerminalInfo(
    id=new_terminal_id(),
    workspace=new_workspace_id(),
    name="a",
    state=TerminalState.RUNNING,
    argv=("sh",),
    size=Pty(),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def mark(at_offset: int, rows: int) -> ResizeMark:
    return ResizeMark(at_offset=at_offset, rows=rows, cols=80)


def look(start: int, *, rows: int = 24, prefix: bytes = b"") -> Attached:
    return Attached(
        session="s",
        stream=1,
        info=INFO,
        role="controller",
        start=start,
        oldest=0,
        newest=start,
        prefix=base64.b64encode(prefix).decode(),
        resizes=(mark(start, rows),),
    )


def begun(start: int = 0) -> Arrivals:
    arrivals = Arrivals()
    arrivals.begin(look(start))
    return arrivals


def taken(arrivals: Arrivals) -> list[TerminalEvent]:
    events = []
    while arrivals:
        events.append(arrivals.take())
    return events


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=8), max_size=12),
    sizes=st.lists(st.integers(0, 100), max_size=6).map(sorted),
    told=st.integers(0, 12),
)
def test_a_size_is_told_where_it_begins(pieces: list[bytes], sizes: list[int], told: int) -> None:
    """All sizes are told ``told`` pieces after the beginning: those of bytes that have come by then follow at once."""
    arrivals, printed, by_then = begun(), b"".join(pieces), len(b"".join(pieces[:told]))
    for number, piece in enumerate([*pieces, None]):
        if number == min(told, len(pieces)):
            for rows, offset in enumerate(sizes, 1):
                arrivals.resize(mark(offset, rows))
        if piece is not None:
            arrivals.data(arrivals.received, piece)
    seen, places = b"", {}
    for event in taken(arrivals):
        match event:
            case TerminalOutput(offset=offset, data=data):
                assert (offset, data != b"") == (len(seen), True)
                seen += data
            case TerminalResized(mark=found):
                places[found.rows] = len(seen)
            case _:
                raise AssertionError(event)
    assert seen == printed
    assert places == {
        rows: max(offset, by_then) for rows, offset in enumerate(sizes, 1) if offset <= by_then or offset < len(printed)
    }


def test_sizes_of_bytes_that_never_come_are_told_before_the_end() -> None:
    arrivals = begun()
    arrivals.resize(mark(5, 40))
    arrivals.exit(TerminalExit(exit_code=0))
    assert [type(event) for event in taken(arrivals)] == [TerminalResized, TerminalExited]


def test_a_gap_comes_with_what_was_announced_for_its_end() -> None:
    arrivals = begun()
    arrivals.skip(30, b"\x1b[m")
    arrivals.gap(10, 30)
    arrivals.gap(40, 50)
    assert taken(arrivals) == [
        TerminalGap(start=10, end=30, prefix=b"\x1b[m"),
        TerminalGap(start=40, end=50, prefix=SOFT_RESET),
    ]
    assert arrivals.received == 50


def test_another_look_tells_what_nobody_saw_and_nothing_twice() -> None:
    arrivals = begun()
    arrivals.data(0, b"before")
    arrivals.resize(mark(100, 99))  # of a look that is over: this one is told of it again
    taken(arrivals)
    arrivals.begin_again(look(6))
    assert taken(arrivals) == [TerminalChanged(info=INFO)]
    arrivals.begin_again(look(20, rows=50, prefix=b"p"))
    assert taken(arrivals) == [
        TerminalGap(start=6, end=20, prefix=b"p"),
        TerminalResized(mark=mark(20, 50)),
        TerminalChanged(info=INFO),
    ]
    arrivals.data(20, b"x" * 200)
    assert taken(arrivals) == [TerminalOutput(offset=20, data=b"x" * 200)]
