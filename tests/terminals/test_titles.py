"""Titles and folders that programs tell: found however the stream is cut, and harmless whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.terminals.titles import LONGEST, LONGEST_TITLE, TitleReader, Told

ALPHABET = st.sampled_from(
    [b"\x1b", b"]", b"0", b"2", b"7", b";", b"\x07", b"\\", b"a", b"\x18", b"file://h/p", b"\n", b"\xff"]
)


def fold(pieces: list[bytes]) -> Told:
    reader, last = TitleReader(), Told()
    for piece in pieces:
        told = reader.feed(piece)
        last = Told(last.title if told.title is None else told.title, told.cwd or last.cwd)
    return last


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"\x1b]0;both\x07", Told("both")),
        (b"\x1b]2;title\x1b\\", Told("title")),
        (b"\x1b]1;icon only\x07", Told()),
        (b"\x1b]2;first\x07\x1b]2;last\x07", Told("last")),
        (b"\x1b]2;given up\x18\x1b]2;other\x07", Told("other")),
        (b"\x1b]2;cut \x1b]2;short\x07", Told("short")),
        (b"\x1b]2;\x07", Told("")),
        (b"\x1b]2;caf\xc3\xa9 \xff \xe2\x80\xae\x01x\x07", Told("café \N{REPLACEMENT CHARACTER} x")),
        (b"\x1b]7;file://host/srv/a%20b%C3%A9\x1b\\", Told(cwd="/srv/a bé")),
        (b"\x1b]7;file:///tmp\x07", Told(cwd="/tmp")),
        (b"\x1b]7;http://host/tmp\x07", Told()),
        (b"\x1b]7;file://host\x07", Told()),
        (b"\x1b]7;file://h/a%00b\x07", Told()),
        (b"\x1b]7;file://h/%ff\x07", Told()),
        (b"\x1b]2", Told()),
    ],
)
def test_what_is_told(stream: bytes, told: Told) -> None:
    assert TitleReader().feed(stream) == told
    assert fold([bytes([byte]) for byte in stream]) == told


def test_what_is_too_long_is_passed_over() -> None:
    reader = TitleReader()
    assert reader.feed(b"\x1b]2;" + b"x" * (LONGEST * 3)) == Told()
    assert reader.feed(b"y" * LONGEST) == Told()
    assert len(reader._held) <= 2
    assert reader.feed(b"\x07\x1b]2;next\x07") == Told("next")
    title = reader.feed(b"\x1b]2;" + b"z" * (LONGEST - 10) + b"\x07").title
    assert title == "z" * LONGEST_TITLE


@given(pieces=st.lists(st.lists(ALPHABET, max_size=8).map(b"".join), max_size=20))
def test_how_it_is_cut_changes_nothing_and_nothing_grows(pieces: list[bytes]) -> None:
    assert fold(pieces) == fold([b"".join(pieces)])
    reader = TitleReader()
    for piece in pieces:
        reader.feed(piece)
        assert len(reader._held) <= LONGEST + 3


@given(data=st.binary(max_size=400))
def test_any_bytes_are_taken(data: bytes) -> None:
    title, cwd = TitleReader().feed(b"\x1b]0;" + data + b"\x07\x1b]7;file://h/" + data + b"\x07")
    assert title is None or (title.isprintable() and len(title) <= LONGEST_TITLE)
    assert cwd is None or (cwd.startswith("/") and cwd.isprintable())
