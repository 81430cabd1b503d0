"""One end of a connection, without the connection: messages in, events out; what is to be sent waits in an outbox. Pure.

Both ends use this class. It correlates requests and responses, turns cancellations and progress into events, and keeps the streams with
their credit. What breaks the protocol raises ``ProtocolError``: the connection is to be closed then. What breaks only a message is
answered, and the connection goes on.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from nexus import wire
from nexus.errors import ProtocolError
from nexus.wire.flow import ReceiveWindow, SendWindow
from nexus.wire.frames import CONNECTION, MAX_STREAM, Flag, Frame, Kind, decode
from nexus.wire.limits import DEFAULT_LIMITS, Limits
from nexus.wire.messages import (
    INVALID_REQUEST,
    Failure,
    Fault,
    Malformed,
    Message,
    MessageId,
    Notification,
    Params,
    Request,
    Success,
    parse,
    serialise,
)

CANCEL: Final = "$/cancelRequest"
PROGRESS: Final = "$/progress"


class Cancelled(NamedTuple):
    """The other end does not want the answer to a request any more. It is answered all the same."""

    id: MessageId


class Progressed(NamedTuple):
    """A request of ours moves on."""

    id: MessageId
    value: Params


class StreamData(NamedTuple):
    """Bytes came that had not come before."""

    stream: int
    offset: int
    data: bytes


class StreamGap(NamedTuple):
    """Bytes of a stream are lost."""

    stream: int
    start: int
    end: int


class StreamEnded(NamedTuple):
    """Everything of a stream has come."""

    stream: int
    length: int
    failed: bool


class StreamReset(NamedTuple):
    """The other end gave a stream up."""

    stream: int
    code: str


class RoomGranted(NamedTuple):
    """More may be sent on this stream; on all of them when it is 0."""

    stream: int
    taken: int
    """How far the other end has taken it."""


Event: TypeAlias = (
    Request
    | Notification
    | Cancelled
    | Progressed
    | Success
    | Failure
    | StreamData
    | StreamGap
    | StreamEnded
    | StreamReset
    | RoomGranted
)


class Connection:
    """The state of one connection at one of its ends.

    Args:
        limits: What this end takes, and what it may send.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.text_only = False
        """Whether frames of streams are sent as text, since the other end takes no binary messages. Both are understood always."""
        self._outbox: list[str | bytes] = []
        self.outgoing = 0
        """Characters and bytes that wait to be taken by :meth:`take_outgoing`."""
        self._last_id = 0
        self._asked: set[MessageId] = set()
        self._answering: set[MessageId] = set()
        self._last_stream = 0
        self._sending: dict[int, SendWindow] = {}
        self._receiving: dict[int, ReceiveWindow] = {}
        self._all_sent = SendWindow(limits.connection_window)
        self._all_received = ReceiveWindow(limits.connection_window)

    def adopt(self, limits: Limits) -> None:
        """Go by the limits that the other end has announced. Only before there are streams."""
        self.limits = limits
        self._all_sent = SendWindow(limits.connection_window)
        self._all_received = ReceiveWindow(limits.connection_window)

    # Messages -------------------------------------------------------------------------------------------------------

    @property
    def asked(self) -> int:
        """Requests of ours that are not answered yet."""
        return len(self._asked)

    @property
    def answering(self) -> int:
        """Requests of the other end that are not answered yet."""
        return len(self._answering)

    def take_outgoing(self) -> list[str | bytes]:
        """Return what is to be sent, in order, and forget it."""
        taken, self._outbox, self.outgoing = self._outbox, [], 0
        return taken

    def _put(self, message: str | bytes) -> None:
        self._outbox.append(message)
        self.outgoing += len(message)

    def request(self, method: str, params: Params, *, progress: bool = False) -> int:
        """Ask, and return the id that the answer will have.

        Args:
            method: The method's name.
            params: Its parameters.
            progress: Ask to be told how it moves on.
        """
        self._last_id += 1
        self._asked.add(self._last_id)
        if progress:
            params = {**params, "_meta": {"progressToken": self._last_id}}
        self._put(serialise(Request(self._last_id, method, params)))
        return self._last_id

    def notify(self, method: str, params: Params) -> None:
        """Tell."""
        self._put(serialise(Notification(method, params)))

    def cancel(self, id: MessageId) -> None:  # noqa: A002 - JSON-RPC's word
        """Say that the answer to a request of ours is not wanted any more. It comes all the same."""
        if id in self._asked:
            self.notify(CANCEL, {"id": id})

    def progress(self, id: MessageId, token: MessageId, value: Params) -> None:  # noqa: A002
        """Tell how a request of the other end moves on, by the token that came with it. After its answer: nothing."""
        if id in self._answering:
            self.notify(PROGRESS, {"token": token, "value": value})

    def respond(self, id: MessageId, result: object) -> int:  # noqa: A002
        """Answer a request, and return the size of the answer in characters; 0 when it was answered already.

        Raises:
            ProtocolError: When the result is larger than a message may be. The request is still to be answered.
        """
        return self._answer(id, serialise(Success(id, result)))

    def fail(self, id: MessageId | None, fault: Fault) -> int:  # noqa: A002
        """Answer a request with an error; ``None`` when it is not known which."""
        text = serialise(Failure(id, fault))
        if id is None:
            self._put(text)
            return len(text)
        return self._answer(id, text)

    def _answer(self, id: MessageId, text: str) -> int:  # noqa: A002
        if id not in self._answering:
            return 0
        if len(text) > self.limits.text_frame:
            raise ProtocolError(
                f"the result has {len(text)} characters; a message has at most {self.limits.text_frame}",
                hint="ask for less at a time",
            )
        self._answering.discard(id)
        self._put(text)
        return len(text)

    def receive(self, message: str | bytes) -> tuple[Event, ...]:
        """Take a message and return what it means.

        Raises:
            ProtocolError: When the other end broke the rules; the connection is to be closed.
        """
        if isinstance(message, bytes):
            return self._framed(decode(message, most=self.limits.data_frame))
        try:
            parsed = parse(message, most=self.limits.text_frame, depth=self.limits.depth)
        except Malformed as error:
            self._put(serialise(error.failure))
            return ()
        return self._message(parsed)

    def _message(self, message: Message) -> tuple[Event, ...]:
        match message:
            case Request():
                return self._requested(message)
            case Notification(method=method, params=params):
                return self._notified(message, method, params)
            case Success() | Failure():
                if message.id is not None:
                    self._settle(message.id)
                return (message,)

    def _requested(self, request: Request) -> tuple[Event, ...]:
        if request.id in self._answering:
            fault = Fault(INVALID_REQUEST, "a request with this id is still being answered", {"code": "PROTOCOL_ERROR"})
            self._put(serialise(Failure(None, fault)))
            return ()
        self._answering.add(request.id)
        return (request,)

    def _notified(self, notification: Notification, method: str, params: Params) -> tuple[Event, ...]:
        if method == CANCEL:
            id = params.get("id")  # noqa: A001
            return (Cancelled(id),) if isinstance(id, int | str) and id in self._answering else ()
        if method == PROGRESS:
            token, value = params.get("token"), params.get("value")
            known = isinstance(token, int | str) and token in self._asked and isinstance(value, dict)
            return (Progressed(token, value),) if known else ()  # type: ignore[arg-type] # both were just looked at
        if not method.startswith("stream."):
            return (notification,)
        frame = wire.text_frames.heard(method, params, most=self.limits.data_frame)
        return (notification,) if frame is None else self._framed(frame)

    def _settle(self, id: MessageId) -> None:  # noqa: A002
        if id not in self._asked:
            raise ProtocolError(f"a response came for request {id!r}, which nobody waits for")
        self._asked.discard(id)

    # Streams --------------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> int:
        """Streams that are open, in both directions."""
        return len(self._sending) + len(self._receiving)

    def new_stream(self) -> int:
        """Return an id that was not used on this connection. Only the daemon gives them out."""
        if self._last_stream >= MAX_STREAM:
            raise ProtocolError("this connection has used up all stream ids", hint="connect again")
        self._last_stream += 1
        return self._last_stream

    def open_sending(self, stream: int, at: int = 0) -> SendWindow:
        """Begin to send on a stream, from this offset on."""
        window = self._sending[stream] = SendWindow(self.limits.stream_window, at)
        return window

    def open_receiving(self, stream: int, at: int = 0) -> ReceiveWindow:
        """Begin to receive on a stream, from this offset on."""
        window = self._receiving[stream] = ReceiveWindow(self.limits.stream_window, at)
        return window

    def room(self, stream: int) -> int:
        """Return how many bytes may be sent on a stream in one frame now; none on one that is not open."""
        window = self._sending.get(stream)
        return 0 if window is None else min(window.room, self._all_sent.room, self.limits.data_frame)

    def _said(self, frame: Frame) -> str | bytes:
        return wire.text_frames.said(frame) if self.text_only else frame.encode()

    def data(self, stream: int, payload: bytes) -> str | bytes:
        """Return the message that sends bytes; there has to be :meth:`room`."""
        window = self._sending[stream]
        frame = Frame(Kind.DATA, stream, window.sent, payload)
        window.send(len(payload))
        self._all_sent.send(len(payload))
        return self._said(frame)

    def skip(self, stream: int, offset: int) -> str | bytes:
        """Return the message that says that everything before ``offset`` is lost."""
        self._sending[stream].skip(offset)
        return self._said(Frame(Kind.DATA, stream, offset, flags=Flag.SKIP))

    def end(self, stream: int, *, failed: bool = False) -> str | bytes:
        """Return the message that ends a stream; it is closed then."""
        window = self._sending.pop(stream)
        return self._said(Frame(Kind.END, stream, window.sent, flags=Flag.FAILED if failed else Flag.NONE))

    def reset(self, stream: int, code: str) -> None:
        """Give a stream up, in whichever direction it goes."""
        if self._drop(stream):
            self._put(self._said(Frame(Kind.RESET, stream, 0, code.encode()[:256])))

    def forget(self, stream: int) -> None:
        """Close a stream without a word: the other end knows."""
        self._drop(stream)

    def _drop(self, stream: int) -> bool:
        sending, receiving = self._sending.pop(stream, None), self._receiving.pop(stream, None)
        return sending is not None or receiving is not None

    def taken(self, stream: int, offset: int, *, at_once: bool = False) -> None:
        """Take note that everything of a stream before ``offset`` was taken; says so to the other end when that is due."""
        window = self._receiving.get(stream)
        said = window.take(offset, at_once=at_once) if window is not None else None
        if said is not None:
            self._put(self._said(Frame(Kind.WINDOW, stream, said)))

    def _framed(self, frame: Frame) -> tuple[Event, ...]:
        match frame.kind:
            case Kind.DATA:
                return self._skipped(frame) if frame.flags & Flag.SKIP else self._came(frame)
            case Kind.END:
                return self._over(frame)
            case Kind.WINDOW:
                return self._granted(frame)
            case Kind.RESET:
                return self._given_up(frame)

    def _came(self, frame: Frame) -> tuple[Event, ...]:
        self._count(len(frame.payload))
        window = self._receiving.get(frame.stream)
        if window is None:  # it was given up here while this was on its way
            return ()
        at = window.received
        new = window.data(frame.offset, frame.payload)
        return (StreamData(frame.stream, at, new),) if new else ()

    def _skipped(self, frame: Frame) -> tuple[Event, ...]:
        window = self._receiving.get(frame.stream)
        if window is None:
            return ()
        at = window.received
        return (StreamGap(frame.stream, at, frame.offset),) if window.skip(frame.offset) else ()

    def _count(self, size: int) -> None:
        """Arrived is taken, for the connection as a whole: what waits to be read is bounded by each stream's own window."""
        total = self._all_received
        total.arrive(size)
        said = total.take(total.received)
        if said is not None:
            self._put(self._said(Frame(Kind.WINDOW, CONNECTION, said)))

    def _over(self, frame: Frame) -> tuple[Event, ...]:
        window = self._receiving.get(frame.stream)
        if window is None:
            return ()
        window.end(frame.offset)
        del self._receiving[frame.stream]
        return (StreamEnded(frame.stream, frame.offset, bool(frame.flags & Flag.FAILED)),)

    def _granted(self, frame: Frame) -> tuple[Event, ...]:
        window = self._all_sent if frame.stream == CONNECTION else self._sending.get(frame.stream)
        if window is None:
            return ()
        window.grant(frame.offset)
        return (RoomGranted(frame.stream, window.taken),)

    def _given_up(self, frame: Frame) -> tuple[Event, ...]:
        known = self._drop(frame.stream)
        return (StreamReset(frame.stream, frame.payload.decode("utf-8", "replace")),) if known else ()
