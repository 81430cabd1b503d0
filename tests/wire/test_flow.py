from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nexus.errors import ProtocolError
from nexus.wire.connection import Connection, StreamData, StreamEnded, StreamGap
from nexus.wire.flow import ReceiveWindow, SendWindow
from nexus.wire.frames import CONNECTION, HEADER_SIZE, Flag, Frame, Kind, decode
from nexus.wire.limits import MAX_SAFE_INTEGER, Limits


@given(st.integers(1, 2**32 - 1), st.integers(0, MAX_SAFE_INTEGER), st.binary(min_size=1, max_size=64))
def test_frames_come_back(stream: int, offset: int, payload: bytes) -> None:
    for frame in (
        Frame(Kind.DATA, stream, offset, payload),
        Frame(Kind.DATA, stream, offset, flags=Flag.SKIP),
        Frame(Kind.END, stream, offset, flags=Flag.FAILED),
        Frame(Kind.WINDOW, CONNECTION, offset),
        Frame(Kind.RESET, stream, offset, payload),
    ):
        assert decode(frame.encode(), most=64) == frame


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(message: bytes) -> None:
    try:
        frame = decode(message, most=64)
    except ProtocolError:
        return
    assert len(frame.payload) <= 64


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x" * (HEADER_SIZE - 1),
        Frame(Kind.DATA, 1, 0, b"x" * 65).encode(),
        Frame(Kind.DATA, 1, MAX_SAFE_INTEGER + 1, b"x").encode(),
        Frame(Kind.DATA, CONNECTION, 0, b"x").encode(),
        Frame(Kind.DATA, 1, 0).encode(),
        Frame(Kind.DATA, 1, 0, b"x", Flag.SKIP).encode(),
        Frame(Kind.END, 1, 0, b"x").encode(),
        b"\x09" + Frame(Kind.DATA, 1, 0, b"x").encode()[1:],
    ],
)
def test_what_is_no_frame_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(message, most=64)


def test_bytes_that_come_twice_are_taken_once() -> None:
    window = ReceiveWindow(100)

    assert window.data(0, b"hello") == b"hello"
    assert window.data(0, b"hello") == b""
    assert window.data(3, b"lo world") == b" world"


def test_missing_bytes_and_bytes_without_credit_are_refused() -> None:
    window = ReceiveWindow(10)

    with pytest.raises(ProtocolError, match="missing"):
        window.data(1, b"x")
    with pytest.raises(ProtocolError, match="granted"):
        window.data(0, b"x" * 11)


def test_a_grant_for_what_was_never_sent_is_refused() -> None:
    window = SendWindow(10)
    window.send(4)

    with pytest.raises(ProtocolError, match="were sent"):
        window.grant(5)


def test_a_sender_never_sends_beyond_its_credit() -> None:
    window = SendWindow(10)
    window.send(10)

    with pytest.raises(ValueError, match="may be"):
        window.send(1)


SMALL = Limits(stream_window=40, connection_window=64, data_frame=16)


class Streaming(RuleBasedStateMachine):
    """Two streams over a connection that is cut at any moment; frames come late, and what was under way at a cut is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.source = {1: b"", 2: b""}
        self.oldest = {1: 0, 2: 0}
        self.got: dict[int, list[bytes | None]] = {1: [], 2: []}
        self.ids = {1: 0, 2: 0}
        self.sender, self.receiver = Connection(SMALL), Connection(SMALL)
        self.down: list[str | bytes] = []
        self.up: list[str | bytes] = []
        self._connect()

    def _connect(self) -> None:
        received = {1: self._count(1), 2: self._count(2)}
        self.sender, self.receiver = Connection(SMALL), Connection(SMALL)
        self.down, self.up = [], []
        for name in (1, 2):
            at = max(received[name], self.oldest[name])
            if at > received[name]:
                self.got[name].extend([None] * (at - received[name]))
            self.ids[name] = self.sender.new_stream()
            self.sender.open_sending(self.ids[name], at)
            self.receiver.open_receiving(self.ids[name], at)

    def _count(self, name: int) -> int:
        return len(self.got[name])

    @rule(name=st.sampled_from([1, 2]), data=st.binary(min_size=1, max_size=60))
    def printed(self, name: int, data: bytes) -> None:
        self.source[name] += data

    @rule(name=st.sampled_from([1, 2]), count=st.integers(1, 20))
    def overwritten(self, name: int, count: int) -> None:
        self.oldest[name] = min(self.oldest[name] + count, len(self.source[name]))

    @rule(name=st.sampled_from([1, 2]))
    def sent(self, name: int) -> None:
        stream = self.ids[name]
        window = self.sender._sending[stream]
        if window.sent < self.oldest[name]:
            self.down.append(self.sender.skip(stream, self.oldest[name]))
        piece = self.source[name][window.sent : window.sent + self.sender.room(stream)]
        if piece:
            self.down.append(self.sender.data(stream, piece))

    @rule(count=st.integers(1, 5))
    def arrived(self, count: int) -> None:
        for _ in range(min(count, len(self.down))):
            message = self.down.pop(0)
            for event in self.receiver.receive(message):
                name = next(key for key, stream in self.ids.items() if stream == event.stream)  # type: ignore[union-attr]
                if isinstance(event, StreamData):
                    assert event.offset == self._count(name)
                    self.got[name].extend(bytes([byte]) for byte in event.data)
                elif isinstance(event, StreamGap):
                    assert event.start == self._count(name)
                    self.got[name].extend([None] * (event.end - event.start))
            self.up += self.receiver.take_outgoing()

    @rule(name=st.sampled_from([1, 2]), at_once=st.booleans(), part=st.floats(0, 1))
    def read(self, name: int, at_once: bool, part: float) -> None:
        window = self.receiver._receiving[self.ids[name]]
        offset = window.taken + round((window.received - window.taken) * part)
        self.receiver.taken(self.ids[name], offset, at_once=at_once)
        self.up += self.receiver.take_outgoing()

    @rule(count=st.integers(1, 5))
    def heard(self, count: int) -> None:
        for _ in range(min(count, len(self.up))):
            self.sender.receive(self.up.pop(0))

    @rule()
    def cut(self) -> None:
        self._connect()

    @invariant()
    def nothing_is_lost_doubled_or_changed(self) -> None:
        for name in (1, 2):
            for at, byte in enumerate(self.got[name]):
                assert byte is None or byte == self.source[name][at : at + 1]
                assert byte is not None or at < self.oldest[name]

    @invariant()
    def credit_is_kept(self) -> None:
        for name in (1, 2):
            window = self.receiver._receiving[self.ids[name]]
            assert window.received - window.taken >= 0 or window.received >= window.taken
            assert self.sender._sending[self.ids[name]].room <= SMALL.stream_window
        assert 0 <= self.sender._all_sent.room <= SMALL.connection_window

    def teardown(self) -> None:
        """However it was interleaved: once both ends go on, everything that was kept arrives."""
        for _ in range(200):
            for name in (1, 2):
                self.sent(name)
            self.arrived(100)
            for name in (1, 2):
                self.read(name, at_once=True, part=1.0)
            self.heard(100)
        for name in (1, 2):
            assert self._count(name) == len(self.source[name])


TestStreaming = Streaming.TestCase
TestStreaming.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)


def test_a_stream_ends_where_it_says() -> None:
    sender, receiver = Connection(SMALL), Connection(SMALL)
    sender.open_sending(1)
    receiver.open_receiving(1)
    first, last = sender.data(1, b"abc"), sender.end(1)

    assert receiver.receive(first) == (StreamData(1, 0, b"abc"),)
    assert receiver.receive(last) == (StreamEnded(1, 3, failed=False),)


def test_an_end_before_everything_has_come_breaks_the_protocol() -> None:
    receiver = Connection(SMALL)
    receiver.open_receiving(1)

    with pytest.raises(ProtocolError, match="ends at byte 3"):
        receiver.receive(Frame(Kind.END, 1, 3).encode())


def test_streams_that_nobody_reads_do_not_stop_the_others() -> None:
    """Credit of the whole connection is for what is under way, not for what waits to be read."""
    sender, receiver = Connection(SMALL), Connection(SMALL)
    for stream in range(1, 11):
        sender.open_sending(stream)
        receiver.open_receiving(stream)
        while room := sender.room(stream):
            receiver.receive(sender.data(stream, b"x" * room))
            for message in receiver.take_outgoing():
                sender.receive(message)

    assert sender.room(10) == 0
    sender.open_sending(11)
    assert sender.room(11) == SMALL.data_frame
