from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.daemon.framing import MAX_MESSAGE_BYTES, Unframer, framed
from nexus.errors import ProtocolError

MESSAGES = st.lists(st.one_of(st.text(max_size=50), st.binary(max_size=50)), max_size=8)


def taken(unframer: Unframer) -> list[str | bytes]:
    return list(iter(unframer.take, None))


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[str | bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(framed, messages))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    unframer = Unframer()
    for start, end in pairwise(edges):
        unframer.feed(stream[start:end])

    assert taken(unframer) == messages
    assert unframer.idle


def test_what_editors_send() -> None:
    unframer = Unframer()
    unframer.feed(b"Content-Length: 2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{}")
    unframer.feed(b"content-length:2\r\n\r\n[]Content-Length: 1")

    assert taken(unframer) == ["{}", "[]"]
    assert not unframer.idle


@pytest.mark.parametrize(
    "stream",
    [
        b"\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 1 \x00\r\n\r\n",
        b"Content-Length: 0x2\r\n\r\n",
        b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"Content-Length: 9999999999999\r\n\r\n",
        f"Content-Length: {MAX_MESSAGE_BYTES + 1}\r\n\r\n".encode(),
        b"Content-Type: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"x" * 2000,
        b"X: " + b"y" * 2000 + b"\r\n\r\n",
        b"Content-Length: 1\r\n\r\n\xff",
    ],
    ids=lambda stream: str(stream[:30]),
)
def test_what_is_no_such_stream(stream: bytes) -> None:
    unframer = Unframer()
    with pytest.raises(ProtocolError):
        unframer.feed(stream)


def test_what_came_before_a_mistake_can_still_be_taken() -> None:
    unframer = Unframer()
    with pytest.raises(ProtocolError):
        unframer.feed(framed("good") + b"bad\r\n\r\n")

    assert taken(unframer) == ["good"]
