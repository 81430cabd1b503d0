from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.providers.local.keeper.frames import LIMIT, Frame, FrameBuffer, FrameError, pack


@given(
    messages=st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300))),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_frames_come_out_whole_however_the_bytes_arrive(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(pack(kind, payload) for kind, payload in messages)
    buffer = FrameBuffer()
    found = []
    position = turn = 0
    while position < len(stream):
        step = cuts[turn % len(cuts)]
        buffer.feed(stream[position : position + step])
        position, turn = position + step, turn + 1
        while (frame := buffer.pop()) is not None:
            found.append(frame)
    assert found == [Frame(kind, payload) for kind, payload in messages]
    assert buffer.pop() is None


def test_a_wrong_length_is_refused_before_anything_is_kept_for_it() -> None:
    buffer = FrameBuffer()
    buffer.feed(struct.pack("!BI", 1, LIMIT + 1))
    with pytest.raises(FrameError, match="claims"):
        buffer.pop()


def test_a_payload_over_the_limit_cannot_be_packed() -> None:
    with pytest.raises(FrameError):
        pack(1, bytes(LIMIT + 1))
