"""WebSocket connections on a socket that is bound already."""

from __future__ import annotations

import asyncio
import http
import itertools
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, cast

import anyio
from anyio import to_thread
from typing_extensions import override
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from nexus.abc.transport import Peer
from nexus.daemon.attending import Serve, attend, refused
from nexus.daemon.door import Door
from nexus.daemon.handshake import (
    HANDSHAKE_SECONDS,
    MAX_HEADER_BYTES,
    SUBPROTOCOL,
    HandshakePolicy,
    PageFile,
    Reply,
    judge,
)
from nexus.daemon.page import PAGE_HEADERS, media_type, page_file
from nexus.daemon.patience import DEFAULT_PATIENCE
from nexus.daemon.peers import may_knock, peer_of
from nexus.errors import AuthError
from nexus.websocket import PromptConnection, WebSocketTransport

MAX_TEXT_BYTES: Final = 1 << 20
MAX_DATA_BYTES: Final = 16 + (64 << 10)
"""A header and 64 KiB."""
CLOSE_SECONDS: Final = 0.5
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

# It would show headers, and with them tokens, to whoever turns on its debugging; what matters is logged here.
_SILENT: Final = logging.Logger("nexus.daemon.websockets", level=logging.CRITICAL + 1)  # noqa: LOG001


class _Connection(PromptConnection, ServerConnection):
    """A connection that is looked at before anything of it is read."""

    def __init__(self, gate: _Gate, protocol: ServerProtocol, server: Server, **limits: float | None) -> None:
        super().__init__(protocol, server, **limits)  # type: ignore[arg-type] # they are the library's own
        self._gate = gate
        self._early = 0
        self.peer = Peer(address="unknown")

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer = self._gate.met(transport)
        if not self._gate.lets_in(self.peer):
            self.transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        if self.request is None:
            self._early += len(data)
            if self._early > MAX_HEADER_BYTES:
                refused(self.peer, "its headers are too large")
                self.transport.write(_TOO_LARGE)
                self.transport.abort() if self.transport.get_write_buffer_size() else self.transport.close()
                return
        super().data_received(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.door.leave(self.peer)
        super().connection_lost(exc)


class _Gate:
    """Who may come in through one listener, and as whom."""

    def __init__(self, door: Door, policy: HandshakePolicy, serve: Serve, patience: float) -> None:
        self.door = door
        self.policy = policy
        self._serve = serve
        self._patience = patience
        self._numbers = itertools.count(1)
        self._scopes: set[anyio.CancelScope] = set()

    def met(self, transport: asyncio.BaseTransport) -> Peer:
        found = cast("socket.socket", transport.get_extra_info("socket"))
        try:
            return peer_of(found, next(self._numbers))
        except (OSError, struct.error):  # it has gone again
            return Peer(address=f"gone#{next(self._numbers)}")

    def lets_in(self, peer: Peer) -> bool:
        why = may_knock(peer)
        if why is not None:
            refused(peer, why)
            return False
        return self.door.arrive(peer)

    async def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        peer = cast("_Connection", connection).peer
        # Older releases of websockets refuse every other method by themselves, and do not tell which it was.
        method = str(getattr(request, "method", "GET"))
        answer = judge(method, request.path, list(request.headers.raw_items()), self.policy)
        if isinstance(answer, Reply):
            if answer.why is not None:
                refused(peer, answer.why)
            return _plain(answer.status, answer.body)
        if isinstance(answer, PageFile):
            data = await to_thread.run_sync(page_file, answer.name)
            return _response(200, data, media_type(answer.name), PAGE_HEADERS)
        if answer.token is not None:
            try:
                await self.door.admit(peer, answer.token)
            except AuthError as error:
                return _plain(401, f"{error.message}\n")
            cast("_Connection", connection).peer = peer.model_copy(update={"token": answer.token})
        return None

    async def handle(self, connection: ServerConnection) -> None:
        ours = cast("_Connection", connection)
        transport = WebSocketTransport(ours, ours.peer, most=MAX_DATA_BYTES)
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await attend(transport, self.door, self._serve, patience=self._patience)
            finally:
                self._scopes.discard(scope)

    def end(self) -> None:
        for scope in tuple(self._scopes):
            scope.cancel()


def _plain(status: int, body: str) -> Response:
    return _response(status, body.encode(), "text/plain; charset=utf-8")


def _response(status: int, data: bytes, kind: str, more: Iterable[tuple[str, str]] = ()) -> Response:
    always = [("Content-Type", kind), ("Content-Length", str(len(data))), ("Connection", "close")]
    return Response(status, http.HTTPStatus(status).phrase, Headers([*always, *more]), data)


class Listener:
    """A socket that is listened on."""

    def __init__(self, server: Server, gate: _Gate) -> None:
        self._server = server
        self._gate = gate

    def refuse(self) -> None:
        """Take no new connection any more; those that are open go on."""
        self._server.close(close_connections=False)

    def renew(self, policy: HandshakePolicy) -> None:
        """Judge later handshakes by another policy."""
        self._gate.policy = policy


@asynccontextmanager
async def listen(
    bound: socket.socket,
    serve_one: Serve,
    *,
    door: Door,
    policy: HandshakePolicy,
    tls: ssl.SSLContext | None = None,
    patience: float = HANDSHAKE_SECONDS,
    ping: float = DEFAULT_PATIENCE.ping,
) -> AsyncIterator[Listener]:
    """Serve WebSocket connections for as long as the block lasts; leaving it ends those that are open.

    Args:
        bound: A TCP or Unix socket, bound; it is closed at the end.
        serve_one: What serves each connection.
        door: Who may come in.
        policy: Which handshakes are accepted.
        tls: Encrypts them.
        patience: Seconds that a handshake may take, and again until a token is shown.
        ping: Seconds between two questions whether somebody is still there, and for the answer.

    Cancellation: as leaving the block.
    """
    gate = _Gate(door, policy, serve_one, patience)
    start = unix_serve if bound.family == socket.AF_UNIX else serve
    server = await start(
        gate.handle,
        sock=bound,
        process_request=gate.process_request,
        select_subprotocol=lambda _connection, _offered: Subprotocol(SUBPROTOCOL),
        compression=None,
        server_header=None,
        open_timeout=patience,
        ping_interval=ping,
        ping_timeout=ping,
        close_timeout=CLOSE_SECONDS,
        max_size=MAX_TEXT_BYTES,
        logger=_SILENT,
        create_connection=cast("type[ServerConnection]", partial(_Connection, gate)),
        ssl=tls,
        ssl_handshake_timeout=None if tls is None else patience,
    )
    try:
        yield Listener(server, gate)
    finally:
        with anyio.CancelScope(shield=True):
            server.close(close_connections=False)
            gate.end()
            await server.wait_closed()
