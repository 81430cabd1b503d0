"""What a scrollback keeps is the end of the stream, wherever it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.terminals.scrollback import Scrollback


@given(pieces=st.lists(st.binary(max_size=40), max_size=30), capacity=st.integers(1, 64), start=st.integers(0, 9))
def test_it_keeps_the_end_of_the_stream(pieces: list[bytes], capacity: int, start: int) -> None:
    kept = Scrollback(capacity, start=start)
    for piece in pieces:
        kept.append(piece)
    whole = b"".join(pieces)
    assert kept.newest == start + len(whole)
    assert kept.oldest == max(start, kept.newest - capacity)
    assert kept.read(0) == (kept.oldest, whole[-capacity:] if whole else b"")


@given(data=st.binary(min_size=1, max_size=80), offset=st.integers(0, 100), limit=st.none() | st.integers(0, 50))
def test_a_read_gives_what_is_there_and_says_where_it_begins(data: bytes, offset: int, limit: int | None) -> None:
    kept = Scrollback(32)
    for index in range(0, len(data), 7):
        kept.append(data[index : index + 7])
    begin, got = kept.read(offset, limit)
    assert begin == max(offset, kept.oldest)
    assert got == data[begin:][:limit]


def test_nothing_cannot_be_kept() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        Scrollback(0)
