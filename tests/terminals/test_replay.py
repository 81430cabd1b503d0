"""Where a client begins: at a place that can be shown by itself, in the state that the program is in, whatever was cut."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.models.terminals import SOFT_RESET, AttachRequest, ResizeMark
from nexus.terminals.modes import ScreenModes
from nexus.terminals.replay import ResizeMarks, begin, tail_of
from nexus.terminals.scrollback import Scrollback

# What a program may print in one go: text, colours, moves, modes, other character sets, titles.
PIECES = st.sampled_from(
    [
        b"plain text",
        "bücher é".encode(),
        b"\x1b[31mred\x1b[0m",
        b"\x1b[1;38;5;208mbright\x1b[m",
        b"\x1b[2K",
        b"\x1b]0;a title\x07",
        b"\x1b[4l",
        b"\x1b(0lqk\x1b(B",
        b"\x1b[?25l\x1b[?25h",
        b"\x1b[5D",
        b"\x1b[0K",
    ]
)
LINES = st.lists(st.lists(PIECES, max_size=4).map(b"".join), min_size=1, max_size=40)
ROWS, COLS = 6, 30


def shown(data: bytes) -> list[str]:
    screen = pyte.Screen(COLS, ROWS)
    pyte.ByteStream(screen).feed(data)
    return [line.rstrip() for line in screen.display]


def mark(offset: int, rows: int = 24, cols: int = 80) -> ResizeMark:
    return ResizeMark(at_offset=offset, rows=rows, cols=cols)


@given(lines=LINES, capacity=st.integers(1, 400), start=st.integers(0, 500))
def test_a_replay_never_begins_in_the_middle_of_a_sequence(lines: list[bytes], capacity: int, start: int) -> None:
    whole = b"".join(line + b"\r\n" for line in lines)
    kept = Scrollback(capacity)
    for index in range(0, len(whole), 7):
        kept.append(whole[index : index + 7])
    place = kept.safe_start(start)
    assert kept.oldest <= place <= kept.newest
    assert place >= min(start, kept.newest)
    if place not in {0, kept.newest}:
        assert whole[place - 1 : place] == b"\n" or whole[place : place + 1] == b"\x1b"


@given(lines=LINES, cut=st.integers(0, 300))
def test_a_screen_that_comes_late_shows_what_one_from_the_beginning_does(lines: list[bytes], cut: int) -> None:
    tail = b"".join(b"line %d\x1b[0m\r\n" % number for number in range(ROWS + 2))
    whole = b"".join(line + b"\x1b[0m\r\n" for line in lines) + tail
    kept = Scrollback(len(tail) + cut)
    kept.append(whole)
    modes = ScreenModes()
    modes.feed(whole, 0)
    point = begin(kept, ResizeMarks(mark(0)), modes, AttachRequest(replay="all"))
    # Its user's screen may be in any state: in the middle of a sequence, coloured, with a cursor that is gone.
    late = b"\x1b[31;1m\x1b(0\x1b[?25l\x1b[4" + point.prefix + b"\x1b[2J\x1b[H" + kept.read(point.start)[1]
    assert shown(late) == shown(whole)


def test_who_goes_on_where_it_was_gets_just_what_follows() -> None:
    kept, marks, modes = Scrollback(10), ResizeMarks(mark(0)), ScreenModes()
    kept.append(b"0123456789abc\ndef")
    point = begin(kept, marks, modes, AttachRequest(since=9))
    assert (point.start, point.gap, point.prefix, point.oldest, point.newest) == (9, None, b"", 7, 17)
    late = begin(kept, marks, modes, AttachRequest(since=2))
    assert (late.start, late.gap, late.prefix) == (14, (2, 14), SOFT_RESET)
    # Offsets that were never given, as after a file was lost: only what comes.
    beyond = begin(kept, marks, modes, AttachRequest(since=99))
    assert (beyond.start, beyond.gap, beyond.prefix) == (17, None, SOFT_RESET)


@pytest.mark.parametrize(("replay", "start"), [("all", 0), ("tail", 0), ("none", 6)])
def test_what_is_replayed(replay: str, start: int) -> None:
    kept = Scrollback(100)
    kept.append(b"one\ntw")
    request = AttachRequest(replay=replay)  # type: ignore[arg-type]
    assert begin(kept, ResizeMarks(mark(0)), ScreenModes(), request).start == start


def test_a_tail_is_bounded() -> None:
    kept = Scrollback(1 << 20)
    for number in range(20_000):
        kept.append(b"line %d\n" % number)
    start = tail_of(kept)
    assert 0 < kept.newest - start <= 64 * 1024
    assert kept.read(start, 5)[1] == b"line "


def test_modes_that_hold_are_set_again_and_those_that_follow_set_themselves() -> None:
    modes = ScreenModes()
    modes.feed(b"\x1b[?1049h\x1b[?1;2004h", 0)
    modes.feed(b"\x1b[?2", 20)
    modes.feed(b"5l\x1b[?100", 24)
    modes.feed(b"0h", 33)
    assert modes.prefix(1000) == SOFT_RESET + b"\x1b[?1049h\x1b[?1h\x1b[?25l\x1b[?1000h\x1b[?2004h"
    assert modes.prefix(25) == SOFT_RESET + b"\x1b[?1049h\x1b[?1h\x1b[?2004h"
    modes.feed(b"\x1b[?1049l\x1b[?25h", 35)
    assert b"1049" not in modes.prefix(1000).removeprefix(SOFT_RESET)
    assert b"25l" not in modes.prefix(1000)
    modes.feed(b"\x1b[!p", 60)
    assert modes.prefix(1000) == SOFT_RESET


@given(data=st.binary(max_size=200), at=st.integers(0, 200))
def test_modes_take_any_bytes(data: bytes, at: int) -> None:
    modes = ScreenModes()
    modes.feed(data[:at], 0)
    modes.feed(data[at:], len(data[:at]))
    assert modes.prefix(1 << 40).startswith(SOFT_RESET)
    assert len(modes._held) <= 80


def test_sizes_are_told_in_order_and_a_storm_is_bounded() -> None:
    marks = ResizeMarks(mark(0))
    assert not marks.add(mark(5))  # the same size
    assert marks.add(mark(5, 25))
    assert marks.add(mark(5, 26))
    assert marks.all == (mark(0), mark(5, 26))
    seen = marks.number_at(0)
    told = marks.after(seen)
    assert told is not None
    assert told[1] == mark(5, 26)
    assert marks.after(told[0]) is None
    for number in range(2000):
        marks.add(mark(10 + number, 30 + number % 7))
    assert len(marks.all) <= 512
    marks.drop_before(1500)
    assert marks.all[0].at_offset <= 1500 < marks.all[1].at_offset
    assert marks.since(1600)[0].at_offset == 1600


def test_a_stream_that_was_not_seen_is_passed_over() -> None:
    kept = Scrollback(100, start=40)
    kept.append(b"abc")
    kept.skip_to(60)
    assert (kept.oldest, kept.newest, kept.read(0)) == (60, 60, (60, b""))
    kept.append(b"def")
    assert kept.read(0) == (60, b"def")
    with pytest.raises(ValueError, match="cannot go on"):
        kept.skip_to(10)
