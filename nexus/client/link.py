"""One connection to a daemon, from its handshake until it is lost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, cast

import anyio

from nexus.abc.provider import ProgressCallback
from nexus.abc.transport import PromptTransport, Transport
from nexus.errors import ConnectionLost, NexusError, ProtocolError, VersionMismatch
from nexus.models.base import Model
from nexus.wire.connection import (
    Connection,
    Event,
    Progressed,
    RoomGranted,
    StreamData,
    StreamEnded,
    StreamGap,
    StreamReset,
)
from nexus.wire.failures import error_of
from nexus.wire.messages import Failure, Notification, Request, Success
from nexus.wire.methods.session import INITIALIZE, INITIALIZED, Initialize, Initialized
from nexus.wire.methods.table import Effect, Method
from nexus.wire.reading import read_result

P = TypeVar("P", bound=Model)
R = TypeVar("R", bound=Model)

_UNDOING: Final = 60.0
"""Seconds to wait for the answer of a cancelled call that changes something: it is undone meanwhile."""
_SPARE: Final = 16
"""Requests below the daemon's limit that are kept for those that end something."""
_log: Final = logging.getLogger("nexus.client")


class Sink(Protocol):
    """Takes what comes on a stream. Called on the event loop; returns at once."""

    def data(self, stream: int, offset: int, data: bytes) -> None:
        """Bytes came."""

    def gap(self, stream: int, start: int, end: int) -> None:
        """Bytes are lost."""

    def end(self, stream: int, *, failed: bool) -> None:
        """Everything has come."""

    def reset(self, stream: int, code: str) -> None:
        """The daemon gave the stream up."""

    def room(self, stream: int, taken: int) -> None:
        """More may be sent; the daemon has taken everything before ``taken``."""


@dataclass(slots=True)
class _Pending:
    """A request that is not answered yet."""

    answered: anyio.Event = field(default_factory=anyio.Event)
    outcome: list[Model | NexusError] = field(default_factory=list)
    read: Callable[[object], Model] | None = None
    progress: ProgressCallback | None = None

    def settle(self, outcome: Model | NexusError) -> None:
        self.outcome.append(outcome)
        self.answered.set()


class Link:
    """A connection whose handshake is done; made by :func:`open_link`.

    Args:
        transport: The connection.
        wire: The protocol's state.
        hello: What the daemon has said about itself.
    """

    def __init__(self, transport: Transport, wire: Connection, hello: Initialized) -> None:
        self.hello = hello
        self.wire = wire
        self.sinks: dict[int, Sink] = {}
        self.notices: Callable[[str, Mapping[str, object]], None] = lambda _method, _params: None
        self.lost = anyio.Event()
        self.error: NexusError = ConnectionLost("the connection to the daemon has ended")
        self._transport = transport
        self._prompt = transport if isinstance(transport, PromptTransport) else None
        self._reading = anyio.CancelScope()
        self._failure: Exception | None = None
        self._pending: dict[object, _Pending] = {}
        self._outgoing: deque[str | bytes] = deque()
        self._something = anyio.Event()
        self._slots = anyio.Semaphore(max(1, wire.limits.in_flight - _SPARE))

    async def run(self) -> None:
        """Carry messages until the connection is lost. Every call that is not answered then raises ``ConnectionLost``.

        Cancellation: the connection is closed.
        """
        try:
            async with anyio.create_task_group() as group:

                async def guarded(work: Callable[[], Awaitable[None]]) -> None:
                    try:
                        await work()
                    except NexusError as error:
                        self.error = error
                    group.cancel_scope.cancel()

                group.start_soon(guarded, self._write)
                group.start_soon(guarded, self._read)
        finally:
            self.lost.set()
            for pending in tuple(self._pending.values()):
                pending.settle(ConnectionLost("the connection to the daemon was lost before it answered"))
            self._pending.clear()
            with anyio.move_on_after(2.0, shield=True):
                await self._transport.aclose()

    # Out ------------------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: Method[P, R],
        params: P,
        *,
        progress: ProgressCallback | None = None,
        on_result: Callable[[R], None] | None = None,
    ) -> R:
        """Ask, and return the result.

        Args:
            method: The method.
            params: Its parameters.
            progress: Told how it moves on.
            on_result: Called with the result before anything that comes after it is looked at.

        Raises:
            NexusError: As the daemon raised it.
            ConnectionLost: When the connection is lost before there is an answer.

        Cancellation: the daemon is told. Where something may have been changed its answer is waited for, a minute at most.
        """
        await self._slot()
        try:
            id, pending = self._ask(method, params, progress, on_result)  # noqa: A001
            try:
                await pending.answered.wait()
            except anyio.get_cancelled_exc_class():
                self.wire.cancel(id)
                self.flush()
                if method.effect is not Effect.READ:
                    with anyio.move_on_after(_UNDOING, shield=True):
                        await pending.answered.wait()
                raise
        finally:
            self._slots.release()
        outcome = pending.outcome[0]
        if isinstance(outcome, NexusError):
            raise outcome
        return cast("R", outcome)

    async def _slot(self) -> None:
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._slots.acquire()

    def post(self, method: Method[P, R], params: P) -> None:
        """Ask, and do not wait for the answer."""
        if not self.lost.is_set():
            self._ask(method, params, None, None)

    def _ask(
        self,
        method: Method[P, R],
        params: P,
        progress: ProgressCallback | None,
        on_result: Callable[[R], None] | None,
    ) -> tuple[int, _Pending]:
        if self.lost.is_set():
            raise ConnectionLost("the connection to the daemon is lost")

        def read(value: object) -> Model:
            result = read_result(method.result, value)
            if on_result is not None:
                on_result(result)
            return result

        pending = _Pending(read=read, progress=progress)
        fields = params.model_dump(mode="json", by_alias=True, exclude_unset=True)
        id = self.wire.request(method.name, fields, progress=progress is not None)  # noqa: A001
        self._pending[id] = pending
        self.flush()
        method.result.model_rebuild()  # what reads the answer is made while the daemon is at work
        return id, pending

    def flush(self) -> None:
        """Send what the protocol has to say."""
        self._say(self.wire.take_outgoing())

    def send(self, frame: str | bytes) -> None:
        """Send a frame of a stream."""
        self._say([frame])

    def _say(self, messages: list[str | bytes]) -> None:
        if messages and (self._outgoing or self._prompt is None or not self._prompt.send_now(messages)):
            self._outgoing.extend(messages)
            self._something.set()

    async def _write(self) -> None:
        while True:
            while self._outgoing:
                await self._transport.send(self._outgoing[0])
                self._outgoing.popleft()
            self._something = anyio.Event()
            await self._something.wait()

    # In -------------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        if self._prompt is not None:
            self._prompt.hand_over(self._arrived, self.flush)
        with self._reading:
            while True:
                self._understand(await self._transport.receive())
                self.flush()
        if self._failure is not None:
            raise self._failure

    def _arrived(self, message: str | bytes) -> bool:
        try:
            self._understand(message)
        except Exception as error:  # noqa: BLE001 - raised by the task that reads
            self._failure = error
            self._reading.cancel()
        return True

    def _understand(self, message: str | bytes) -> None:
        for event in self.wire.receive(message):
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Success(id=id, result=result):
                self._answered(id, result)
            case Failure(id=id, fault=fault):
                pending = self._pending.pop(id, None)
                if pending is not None:
                    pending.settle(error_of(fault))
                elif id is None:
                    _log.warning("the daemon did not understand a message: %s", fault.message)
            case Progressed(id=id, value=value):
                pending = self._pending.get(id)
                if pending is not None and pending.progress is not None:
                    _report(pending.progress, value)
            case Notification(method=method, params=params):
                self.notices(method, params)
            case Request(id=id):
                raise ProtocolError(f"the daemon asked for something (request {id!r}); it only answers")
            case _:
                self._stream(event)

    def _answered(self, id: object, result: object) -> None:  # noqa: A002
        pending = self._pending.pop(id, None)
        if pending is None or pending.read is None:
            return
        try:
            pending.settle(pending.read(result))
        except NexusError as error:
            pending.settle(error)

    def _stream(self, event: Event) -> None:
        match event:
            case RoomGranted(stream=0):
                for stream, sink in tuple(self.sinks.items()):
                    sink.room(stream, 0)
            case StreamData(stream=stream, offset=offset, data=data) if stream in self.sinks:
                self.sinks[stream].data(stream, offset, data)
            case StreamGap(stream=stream, start=start, end=end) if stream in self.sinks:
                self.sinks[stream].gap(stream, start, end)
            case StreamEnded(stream=stream, failed=failed) if stream in self.sinks:
                self.sinks[stream].end(stream, failed=failed)
            case StreamReset(stream=stream, code=code) if stream in self.sinks:
                self.sinks.pop(stream).reset(stream, code)
            case RoomGranted(stream=stream, taken=taken) if stream in self.sinks:
                self.sinks[stream].room(stream, taken)
            case _:
                pass


def _report(progress: ProgressCallback, value: Mapping[str, object]) -> None:
    done, total = value.get("done"), value.get("total")
    progress(
        str(value.get("step", "")),
        str(value.get("message", "")),
        done if isinstance(done, int) else None,
        total if isinstance(total, int) else None,
    )


async def open_link(transport: Transport, hello: Initialize) -> Link:
    """Say who we are, and return the connection.

    Raises:
        AuthError: When the daemon does not accept it.
        VersionMismatch: When it speaks no version of the protocol that we do.
        ConnectionLost, ProtocolError: When it does not answer as a daemon does.
    """
    wire = Connection()
    asked = wire.request(INITIALIZE.name, hello.model_dump(mode="json", by_alias=True, exclude_none=True))
    for message in wire.take_outgoing():
        await transport.send(message)
    Initialized.model_rebuild()  # while the daemon is at work
    while True:
        for event in wire.receive(await transport.receive()):
            match event:
                case Success(id=id, result=result) if id == asked:
                    answer = read_result(Initialized, result)
                    if not hello.protocol.min <= answer.protocol <= hello.protocol.max:
                        raise VersionMismatch(f"the daemon chose version {answer.protocol}, which was not offered")
                    wire.adopt(answer.limits)
                    link = Link(transport, wire, answer)
                    wire.notify(INITIALIZED, {})
                    link.flush()
                    return link
                case Failure(fault=fault):
                    raise error_of(fault)
                case _:
                    raise ProtocolError("the daemon said something else before it answered 'initialize'")
