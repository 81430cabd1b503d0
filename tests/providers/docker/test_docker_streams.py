"""From the bytes of a command's connection to events, however they were cut."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument
from nexus.models.execution import Output, Pty, SpawnRequest, Stream
from nexus.providers.docker.exec_marks import Began, Ended, Idle, Mark, MarkScanner, Ready, Refused
from nexus.providers.docker.exec_output import OutputAssembler
from nexus.providers.docker.exec_script import passes_shell, wrap
from nexus.providers.docker.exec_stream import FrameDecoder

_NONCE = "ex_0123456789abcdef"
_START = b"\x1e" + _NONCE.encode() + b" "


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


_PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=12)
_CUTS = st.lists(st.integers(min_value=0), max_size=12)


@given(_PIECES, _CUTS)
def test_frames_come_apart_wherever_they_are_cut(pieces: list[tuple[int, bytes]], cuts: list[int]) -> None:
    wire = b"".join(struct.pack(">BxxxL", number, len(data)) + data for number, data in pieces)
    decoder = FrameDecoder()
    found = {Stream.STDOUT: b"", Stream.STDERR: b""}
    for part in _cut(wire, cuts):
        for stream, data in decoder.feed(part):
            found[stream] += data

    assert found[Stream.STDOUT] == b"".join(data for number, data in pieces if number == 1)
    assert found[Stream.STDERR] == b"".join(data for number, data in pieces if number == 2)


_NOISE = st.lists(
    st.sampled_from(
        [b"\x1e", b"text", b"\n", b"\r\n", _START, _START[:-1], b"\x1eex_", b"s 1 1\x1e", b"x" * 90, b"\xff"]
    ),
    max_size=10,
).map(b"".join)


@given(_NOISE, _NOISE, _CUTS)
def test_marks_are_taken_out_and_nothing_else_is(before: bytes, after: bytes, cuts: list[int]) -> None:
    # A line of its own: noise that ends in half a mark would otherwise swallow this one, as it would for a reader of lines.
    wire = before + b"." * 90 + b"\n" + _START + b"s 12 7\x1e\n" + after
    scanner = MarkScanner(_NONCE)
    output, marks = b"", list[Mark]()
    for part in _cut(wire, cuts):
        for item in scanner.feed(part):
            if isinstance(item, bytes):
                output += item
            else:
                marks.append(item)
    output += scanner.finish()

    assert Began(12, 7) in marks
    # Whatever the noise spells out as a mark is one; everything else comes through.
    spelled = len(wire) - len(output)
    assert spelled == sum(
        len(_START) + len(b"s 12 7\x1e\n") if mark == Began(12, 7) else _length(mark, wire) for mark in marks
    )


def _length(mark: Mark, wire: bytes) -> int:
    assert mark == Began(1, 1)
    short = _START + b"s 1 1\x1e\n"
    return len(short) if short in wire else len(short) + 1


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        (b"s 5 4\x1e\n", Began(5, 4)),
        (b"s 5 4\x1e\r\n", Began(5, 4)),
        (b"e missing 127\x1e\n", Refused("missing", 127)),
        (b"x 137 1\x1e\n", Ended(137, oom=True)),
        (b"x 0 0\x1e\n", Ended(0, oom=False)),
        (b"r\x1e\n", Ready()),
        (b"i\x1e\n", Idle()),
    ],
)
def test_marks(text: bytes, mark: Mark) -> None:
    assert MarkScanner(_NONCE).feed(b"a" + _START + text + b"b") == [b"a", mark, b"b"]


def test_a_forged_mark_is_only_output() -> None:
    for forged in (b"\x1eother s 1 1\x1e\n", _START + b"s x y\x1e\n", _START + b"q 1\x1e\n", _START + b"z" * 500):
        scanner = MarkScanner(_NONCE)
        found = scanner.feed(forged)
        assert b"".join(item for item in found if isinstance(item, bytes)) + scanner.finish() == forged


def test_a_programs_endless_line_after_the_nonce_is_not_kept_in_memory() -> None:
    scanner = MarkScanner(_NONCE)
    passed = sum(
        len(item) for _ in range(100) for item in scanner.feed(_START + b"y" * 1000) if isinstance(item, bytes)
    )

    assert passed + len(scanner.finish()) == 100 * (len(_START) + 1000)


def _frame(number: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", number, len(data)) + data


def test_offsets_count_each_stream_without_the_marks() -> None:
    assembler = OutputAssembler(framed=True, nonce=_NONCE)
    items = assembler.feed(
        _frame(2, _START + b"s 1 1\x1e\nerr") + _frame(1, b"out") + _frame(2, b"more") + _frame(1, b"!")
    )

    outputs = [(item.stream, item.offset, item.data) for item in items if isinstance(item, Output)]
    assert outputs == [
        (Stream.STDERR, 0, b"err"),
        (Stream.STDOUT, 0, b"out"),
        (Stream.STDERR, 3, b"more"),
        (Stream.STDOUT, 3, b"!"),
    ]


def test_a_prepared_shell_says_on_both_streams_that_it_is_idle() -> None:
    assembler = OutputAssembler(framed=True, nonce=_NONCE, both=True)
    items = assembler.feed(_frame(1, b"out" + _START + b"i\x1e\n") + _frame(2, _START + b"i\x1e\n"))

    assert [item.data if isinstance(item, Output) else item for item in items] == [b"out", Idle(), Idle()]
    assert assembler.clean
    assembler.feed(_frame(1, b"more")[:-1])
    assert not assembler.clean


def test_words_travel_as_they_are_unless_they_are_no_text() -> None:
    plain = wrap(SpawnRequest(argv=("echo", "a b'\"$\n"), cwd="-", env={"A": "ü"}), _NONCE)
    odd = wrap(SpawnRequest(argv=("echo", "\udcff"), env={"SECRET": "\udcfe"}, pty=Pty(rows=3, cols=4)), _NONCE)

    assert plain.argv[-2:] == ("echo", "a b'\"$\n")
    assert plain.argv[7] == "./-"
    assert plain.env == ("A=ü",)
    assert odd.argv[-1] == "\\0377"
    assert "SECRET" in odd.argv
    assert odd.env == ("TERM=xterm-256color", "SECRET=\\0376")
    with pytest.raises(InvalidArgument):
        wrap(SpawnRequest(argv=("echo", "\ud800")), _NONCE)


def test_names_that_a_shell_would_not_pass_on() -> None:
    assert passes_shell(["PATH", "A_1", "_x"])
    for name in ("a.b", "1a", "a-b", "UID", "IFS", "PPID", "_nx_n", "BASH_FUNC_x%%", "é"):
        assert not passes_shell(["PATH", name])
