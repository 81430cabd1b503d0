from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument
from nexus.handles.collect import Collector, HeadTail
from nexus.models.execution import ExecEvent, ExecResult, Exited, Gap, Output, OutputLimit, Started, Stream, Truncation
from nexus.models.ids import ExecId

limits = st.builds(OutputLimit, head=st.integers(0, 12), tail=st.integers(0, 12))
chunks = st.lists(st.tuples(st.sampled_from(list(Stream)), st.binary(max_size=9)), max_size=30)


def outputs(parts: Sequence[tuple[Stream, bytes]]) -> list[ExecEvent]:
    """Give chunks their offsets."""
    at = dict.fromkeys(Stream, 0)
    events: list[ExecEvent] = []
    for stream, data in parts:
        events.append(Output(stream=stream, offset=at[stream], data=data))
        at[stream] += len(data)
    return events


def collect(events: Sequence[ExecEvent], limit: OutputLimit) -> ExecResult:
    collector = Collector(limit)
    for event in events:
        collector.add(event)
    return collector.result(exec_id=ExecId("ex_1"), argv=("x",), duration=1.0)


def expected(data: bytes, limit: OutputLimit) -> tuple[bytes, Truncation | None]:
    if len(data) <= limit.head + limit.tail:
        return data, None
    head, tail = data[: limit.head], data[len(data) - limit.tail :]
    return head + tail, Truncation(total=len(data), kept_head=len(head), kept_tail=len(tail))


@given(parts=chunks, limit=limits)
def test_result_is_head_and_tail_whatever_the_chunks(parts: list[tuple[Stream, bytes]], limit: OutputLimit) -> None:
    result = collect(outputs(parts), limit)
    kept = {Stream.STDOUT: result.stdout_bytes, Stream.STDERR: result.stderr_bytes}
    for stream in Stream:
        whole = b"".join(data for name, data in parts if name is stream)
        assert (kept[stream], result.truncated.get(stream)) == expected(whole, limit)
    assert result.output_bytes == expected(b"".join(data for _, data in parts), limit)[0]


@given(parts=chunks, limit=limits, cuts=st.randoms(use_true_random=False))
def test_cutting_chunks_smaller_changes_nothing(
    parts: list[tuple[Stream, bytes]], limit: OutputLimit, cuts: random.Random
) -> None:
    finer: list[tuple[Stream, bytes]] = []
    for stream, data in parts:
        at = cuts.randint(0, len(data))
        finer += [(stream, data[:at]), (stream, data[at:])]
    assert collect(outputs(finer), limit) == collect(outputs(parts), limit)


@given(parts=chunks, limit=limits, repeats=st.lists(st.integers(0, 29), max_size=5))
def test_bytes_that_come_again_are_taken_once(
    parts: list[tuple[Stream, bytes]], limit: OutputLimit, repeats: list[int]
) -> None:
    events = outputs(parts)
    again = list(events)
    for index in sorted(repeats, reverse=True):
        if index < len(events):
            again.insert(index + 1, events[index])
    assert collect(again, limit) == collect(events, limit)


@given(data=st.lists(st.binary(max_size=40), max_size=20), head=st.integers(0, 9), tail=st.integers(0, 9))
def test_memory_is_bounded(data: list[bytes], head: int, tail: int) -> None:
    kept = HeadTail(head, tail)
    for part in data:
        kept.add(part)
        assert len(kept.kept()) <= head + tail


@given(parts=chunks, first=limits, second=limits, at=st.integers(0, 30))
def test_narrowing_later_equals_narrowing_at_once(
    parts: list[tuple[Stream, bytes]], first: OutputLimit, second: OutputLimit, at: int
) -> None:
    narrow = OutputLimit(head=min(first.head, second.head), tail=min(first.tail, second.tail))
    events = outputs(parts)
    collector = Collector(first)
    for event in events[:at]:
        collector.add(event)
    collector = collector.under(narrow)
    for event in events[at:]:
        collector.add(event)
    late = collector.result(exec_id=ExecId("ex_1"), argv=("x",), duration=1.0)
    assert late == collect(events, narrow)


def test_gap_keeps_both_ends_true() -> None:
    limit = OutputLimit(head=100, tail=100)
    events: list[ExecEvent] = [
        Output(stream=Stream.STDOUT, offset=0, data=b"begin"),
        Gap(stream=Stream.STDOUT, start=5, end=50),
        Output(stream=Stream.STDOUT, offset=50, data=b"end"),
    ]
    result = collect(events, limit)
    assert result.stdout_bytes == b"beginend"
    assert result.truncated == {Stream.STDOUT: Truncation(total=53, kept_head=5, kept_tail=3)}


def test_jump_in_offsets_counts_as_lost() -> None:
    events: list[ExecEvent] = [
        Output(stream=Stream.STDOUT, offset=0, data=b"ab"),
        Output(stream=Stream.STDOUT, offset=10, data=b"yz"),
    ]
    assert collect(events, OutputLimit()).truncated[Stream.STDOUT].total == 12


def test_end_is_taken_over() -> None:
    result = collect([Started(exec_id=ExecId("ex_1")), Exited(exit_code=137, signal=9, oom=True)], OutputLimit())
    assert (result.exit_code, result.signal, result.oom, result.timed_out) == (137, 9, True, False)


def test_without_an_end_the_status_is_not_known() -> None:
    assert collect([], OutputLimit()).exit_code is None


def test_exceeded_names_the_stream() -> None:
    collector = Collector(OutputLimit(head=2, tail=2))
    collector.add(Output(stream=Stream.STDERR, offset=0, data=b"abcd"))
    assert collector.exceeded is None
    collector.add(Output(stream=Stream.STDERR, offset=4, data=b"e"))
    assert collector.exceeded is Stream.STDERR


@pytest.mark.parametrize(("head", "tail"), [(-1, 0), (0, -1)])
def test_negative_limits_are_refused(head: int, tail: int) -> None:
    with pytest.raises(InvalidArgument):
        Collector(OutputLimit(head=head, tail=tail))
