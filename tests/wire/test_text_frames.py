from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import ProtocolError
from nexus.wire.connection import Connection, StreamData, StreamEnded
from nexus.wire.frames import MAX_STREAM, Flag, Frame, Kind
from nexus.wire.limits import MAX_SAFE_INTEGER
from nexus.wire.text_frames import heard, said

streams = st.integers(1, MAX_STREAM)
offsets = st.integers(0, MAX_SAFE_INTEGER)
frames = st.one_of(
    st.builds(
        lambda stream, offset, data: Frame(Kind.DATA, stream, offset, data),
        streams,
        offsets,
        st.binary(min_size=1, max_size=300),
    ),
    st.builds(lambda stream, offset: Frame(Kind.DATA, stream, offset, flags=Flag.SKIP), streams, offsets),
    st.builds(
        lambda stream, offset, flag: Frame(Kind.END, stream, offset, flags=flag),
        streams,
        offsets,
        st.sampled_from([Flag.NONE, Flag.FAILED]),
    ),
    st.builds(lambda stream, offset: Frame(Kind.WINDOW, stream, offset), st.integers(0, MAX_STREAM), offsets),
    st.builds(
        lambda stream, code: Frame(Kind.RESET, stream, 0, code.encode()), streams, st.from_regex(r"[A-Z_]{1,60}\Z")
    ),
)


@given(frames)
def test_a_frame_says_the_same_as_text(frame: Frame) -> None:
    told = json.loads(said(frame))

    assert heard(told["method"], told["params"], most=65_536) == frame


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("stream.data", {"stream": 1, "offset": 0, "data": "not base64!"}),
        ("stream.data", {"stream": 0, "offset": 0, "data": "YQ=="}),
        ("stream.data", {"stream": 1, "offset": 2**53, "data": "YQ=="}),
        ("stream.data", {"stream": 2**32, "data": "YQ=="}),
        ("stream.data", {"stream": 1, "offset": -1, "data": "YQ=="}),
        ("stream.data", {"stream": 1, "data": "YWFhYWFhYWFhYWFhYWFhYWE="}),
        ("stream.end", {"stream": 0, "offset": 0}),
        ("stream.end", {}),
        ("stream.window", {"stream": "one"}),
        ("stream.reset", {"stream": 1}),
    ],
)
def test_what_is_no_frame_breaks_the_protocol(method: str, params: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        heard(method, params, most=16)


def test_other_notifications_are_no_frames() -> None:
    assert heard("stream.failed", {"stream": 1}, most=16) is None


def test_one_end_that_speaks_text_is_understood_by_one_that_does_not() -> None:
    ours, theirs = Connection(), Connection()
    ours.text_only = True
    stream = ours.new_stream()
    ours.open_sending(stream)
    theirs.open_receiving(stream)
    piece, end = ours.data(stream, b"hello"), ours.end(stream)

    assert isinstance(piece, str)
    assert isinstance(end, str)
    assert theirs.receive(piece) == (StreamData(stream, 0, b"hello"),)
    assert theirs.receive(end) == (StreamEnded(stream, 5, False),)
