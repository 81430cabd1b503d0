"""One connection from its first to its last moment: one task group, so that nothing of it outlives it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from nexus.abc.transport import PromptTransport, Transport
from nexus.daemon.call import Routes
from nexus.daemon.dispatch import Requests
from nexus.daemon.event_log import EventOutlet
from nexus.daemon.greeting import greet
from nexus.daemon.hub import Hub
from nexus.daemon.listings import Listings
from nexus.daemon.outlets import Outlet
from nexus.daemon.principal import Principal
from nexus.daemon.session import Session
from nexus.daemon.streams import Streams
from nexus.daemon.writing import Writer
from nexus.errors import AuthError, ConnectionLost, NexusError, ProtocolError, SlowConsumer, VersionMismatch
from nexus.wire.connection import (
    Cancelled,
    Connection,
    Event,
    RoomGranted,
    StreamData,
    StreamEnded,
    StreamGap,
    StreamReset,
)
from nexus.wire.messages import Notification, Request
from nexus.wire.methods import session as methods
from nexus.wire.methods.table import Params

if TYPE_CHECKING:
    from nexus.daemon.handlers.files_live import Upload
    from nexus.daemon.handlers.terminals import Look

PATIENCE: Final = 10.0
"""Seconds that a client has for saying who it is."""
_CODES: Final[Mapping[type[NexusError], int]] = {
    AuthError: 4001,
    VersionMismatch: 4002,
    SlowConsumer: 4004,
    ProtocolError: 1002,
}
_REPLACED: Final = 4003
_DRAINING: Final = 4005
_CLOSING: Final = 2.0
_IN_A_ROW: Final = 64
"""Messages of one client that are taken without waiting for anything before others have their turn: two milliseconds of small files."""
_AT_A_TIME: Final = 64 * 1024
"""Characters and bytes of answers that are sent together."""
_log: Final = logging.getLogger("nexus.daemon")


class ServedConnection:
    """Serves one client over one transport.

    Args:
        hub: What all connections share.
        transport: The connection.
        routes: What carries out each method.
    """

    def __init__(self, hub: Hub, transport: Transport, routes: Routes) -> None:
        self.hub = hub
        self.transport = transport
        self.wire = Connection(hub.limits)
        self.session: Session | None = None
        self.principal: Principal | None = None
        self.events: EventOutlet | None = None
        self.stops: dict[str, Callable[[], None]] = {}
        """What ends each watch of this connection, by its id."""
        self.uploads: dict[str, Upload] = {}
        """The files that are being sent, by id."""
        self.looks: dict[str, Look] = {}
        """Who looks at which terminal, by id."""
        self._requests = Requests(self, routes)
        self._writer = Writer(transport, hub.limits.pending, hub.patience.send)
        self.streams = Streams(self.wire, hub.limits.streams, ready=self._writer.ready, flush=self.flush)
        self.listings = Listings()
        self._group: TaskGroup | None = None
        self._close: tuple[int, str] | None = None
        self._in_a_row = 0
        self._reading = anyio.CancelScope()
        self._bug: Exception | None = None

    async def serve(self) -> None:
        """Serve until the connection ends, however it does. Commands and keyed work go on; everything else has ended.

        Cancellation: the connection is closed.
        """
        self.hub.connections += 1
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._guarded, self._writer.run)
                group.start_soon(self._guarded, self._writer.watch)
                group.start_soon(self._begin)
        finally:
            self.hub.connections -= 1
            self._leave()
            with anyio.move_on_after(_CLOSING, shield=True):
                await self.listings.aclose()
                await self.transport.aclose(*(self._close or (1000, "")))

    # Out ------------------------------------------------------------------------------------------------------------

    @property
    def group(self) -> TaskGroup:
        """Where tasks run that end with this connection."""
        if self._group is None:
            raise ConnectionLost("the connection is not served yet")
        return self._group

    @property
    def ending(self) -> bool:
        """Whether this connection is over, or about to be."""
        return self._group is None or self._group.cancel_scope.cancel_called

    def flush(self) -> None:
        """Send what the protocol has to say."""
        try:
            self._writer.say(self.wire.take_outgoing())
        except SlowConsumer as error:
            self.end(error)

    def notify(self, method: str, params: Params) -> None:
        """Tell the client."""
        self.wire.notify(method, params.model_dump(mode="json", by_alias=True))
        self.flush()

    async def calm(self) -> None:
        """Return when the client has taken most of what it was told."""
        await self._writer.calm()

    def ready(self, outlet: Outlet) -> None:
        """Ask this outlet when its turn comes."""
        self._writer.ready(outlet)

    def end(self, why: NexusError) -> None:
        """Close this connection because of an error."""
        code = next((code for kind, code in _CODES.items() if isinstance(why, kind)), 1000)
        if not isinstance(why, ConnectionLost):
            _log.warning("%s is closed: %s", self.transport.peer, why.message)
        self._stop(code, why.message)

    def replace(self) -> None:
        """Close: a newer connection goes on with the session."""
        self._stop(_REPLACED, "a newer connection goes on with this session")

    def drain(self) -> None:
        """Close: the daemon ends."""
        self._stop(_DRAINING, "the daemon ends")

    def _stop(self, code: int, reason: str) -> None:
        if self._close is None:
            self._close = (code, reason)
        if self._group is not None:
            self._group.cancel_scope.cancel()

    # In -------------------------------------------------------------------------------------------------------------

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except NexusError as error:
            self.end(error)

    async def _begin(self) -> None:
        """Find out who is there, then serve them."""
        try:
            with anyio.move_on_after(PATIENCE) as patience:
                await greet(self)
        except NexusError as error:
            self.end(error)
            return
        if patience.cancelled_caught:
            self._stop(4001, "no valid token in time")
            return
        if isinstance(self.transport, PromptTransport):
            self.transport.hand_over(self._arrived, self._arrived_all)
        await self._read()

    def _arrived(self, message: str | bytes) -> bool:
        """Take a message at once, unless it is the turn of others, or the client has to take something first."""
        if self._close is not None or not self._writer.calm_now or self._in_a_row >= _IN_A_ROW:
            return False
        self._in_a_row += 1
        try:
            self._understand(message)
        except NexusError as error:
            self.end(error)
        except Exception as error:  # noqa: BLE001 - raised where somebody expects it
            self._bug = error
            self._reading.cancel()
        if self.wire.outgoing >= _AT_A_TIME:
            self.flush()
        return True

    def _arrived_all(self) -> None:
        self._in_a_row = 0
        self.flush()

    async def _read(self) -> None:
        """Read what could not be taken at once."""
        try:
            with self._reading:
                await self._read_on()
        except NexusError as error:
            self.end(error)
        if self._bug is not None:
            raise self._bug

    async def _read_on(self) -> None:
        in_a_row = 0
        while True:
            self._understand(await self.transport.receive())
            self.flush()
            await self._writer.calm()
            in_a_row = (in_a_row + 1) % _IN_A_ROW
            if in_a_row == 0:
                await anyio.lowlevel.checkpoint()

    def _understand(self, message: str | bytes) -> None:
        for event in self.wire.receive(message):
            if not isinstance(event, Request):
                self._take(event)
            elif (running := self._requests.begin(event)) is not None:
                self.group.start_soon(self._requests.answer, event, running)

    def _take(self, event: Event) -> None:
        match event:
            case Cancelled(id=id):
                self._requests.cancel(id)
            case StreamData() | StreamGap() | StreamEnded() | StreamReset() | RoomGranted():
                self.streams.take(event)
            case Notification(method=methods.INITIALIZED) if self.session is not None:
                self.session.confirm()
            case Notification() | _:
                pass  # unknown ones mean nothing, so that newer clients can be talked to

    def _leave(self) -> None:
        self.streams.close()
        if self.events is not None:
            self.events.close()
        if self.session is not None:
            self.hub.sessions.leave(self.session, self)
