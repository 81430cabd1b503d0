"""The daemon as an ASGI application, to be mounted into somebody's web server. Needs no library.

::

    app = nexus.asgi_app(daemon.door, daemon.serve, domains=["dev.example.com"])
    Starlette(routes=[Mount("/nexus", app=app)])        # wss://dev.example.com/nexus/v1/rpc
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Final, TypeAlias, cast

import anyio

from nexus.abc.transport import Peer
from nexus.daemon.attending import Serve, attend, refused
from nexus.daemon.door import Door
from nexus.daemon.handshake import HANDSHAKE_SECONDS, HandshakePolicy, Headers, PageFile, Reply, Upgrade, judge
from nexus.errors import AuthError, ConnectionLost, ProtocolError

Message: TypeAlias = MutableMapping[str, object]
Scope: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_MESSAGE_BYTES: Final = 1 << 20
_TOO_BIG: Final = 1009


class AsgiTransport:
    """Implements :class:`~nexus.abc.transport.Transport` over a WebSocket that an ASGI server has accepted."""

    def __init__(self, peer: Peer, receive: Receive, send: Send) -> None:
        self._peer = peer
        self._receive = receive
        self._send = send
        self._open = True

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    async def receive(self) -> str | bytes:
        """Return the next message."""
        if not self._open:
            raise ConnectionLost("the connection has ended")
        event = await self._receive()
        if event["type"] != "websocket.receive":
            self._open = False
            raise ConnectionLost("the connection has ended")
        text, data = event.get("text"), event.get("bytes")
        message = text if isinstance(text, str) else data
        if not isinstance(message, str | bytes):
            raise ProtocolError("the server has passed on a message that is neither text nor bytes")
        if len(message) > MAX_MESSAGE_BYTES:
            await self.aclose(_TOO_BIG, "the message is too big")
            raise ProtocolError(f"a message of {len(message)} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
        return message

    async def send(self, message: str | bytes) -> None:
        """Hand a message to the other end."""
        if not self._open:
            raise ConnectionLost("the connection has ended")
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", kind: message})
        except OSError as error:  # what the specification has servers raise for a client that has gone
            self._open = False
            raise ConnectionLost("the connection has ended") from error

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection."""
        if not self._open:
            return
        self._open = False
        try:
            with anyio.move_on_after(0.5):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError):
            pass  # it has gone already; servers say so in several ways


def asgi_app(
    door: Door,
    serve: Serve,
    *,
    origins: Iterable[str] = (),
    domains: Iterable[str] = (),
    patience: float = HANDSHAKE_SECONDS,
) -> Application:
    """Return an ASGI 3 application that serves the protocol at ``/v1/rpc`` below where it is mounted, and ``/healthz``.

    It checks ``Origin``, ``Host`` and tokens as the daemon's own listeners do, whatever the server around it checks.

    Args:
        door: The daemon's door.
        serve: What serves each connection: the daemon's ``serve``.
        origins: Web pages that may connect, such as ``https://editor.example.com``; none by default.
        domains: Names that the server is called by, beside those of this machine.
        patience: Seconds that a connection may stay without a token.
    """
    policy = HandshakePolicy(origins=frozenset(origins), domains=frozenset(domains))
    numbers = itertools.count(1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await _live(receive, send)
            case "http":
                await _answer_http(scope, send, policy)
            case "websocket":
                answer = judge("GET", _target(scope), _headers(scope), policy)
                await meet(_peer(scope, next(numbers)), answer, receive, send)
            case _:
                pass

    async def meet(peer: Peer, answer: Upgrade | PageFile | Reply, receive: Receive, send: Send) -> None:
        await receive()  # "websocket.connect"; nothing is accepted yet, so that closing has the server say 403
        if not isinstance(answer, Upgrade):
            refused(peer, (answer.why if isinstance(answer, Reply) else None) or "it asked for no WebSocket")
            await send({"type": "websocket.close", "code": 4003})
        elif not door.arrive(peer):
            await send({"type": "websocket.close", "code": 4003})
        else:
            await let_in(peer, answer, receive, send)

    async def let_in(peer: Peer, answer: Upgrade, receive: Receive, send: Send) -> None:
        try:
            if answer.token is not None:
                await door.admit(peer, answer.token)
            await send({"type": "websocket.accept", "subprotocol": answer.subprotocol})
        except AuthError:
            door.leave(peer)
            await send({"type": "websocket.close", "code": 4001})
            return
        except BaseException:
            door.leave(peer)
            raise
        known = peer.model_copy(update={"token": answer.token})
        await attend(AsgiTransport(known, receive, send), door, serve, patience=patience)

    return app


async def _live(receive: Receive, send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def _answer_http(scope: Scope, send: Send, policy: HandshakePolicy) -> None:
    answer = judge(str(scope.get("method", "GET")), _target(scope), _headers(scope), policy)
    status, body = (answer.status, answer.body) if isinstance(answer, Reply) else (426, "upgrade required\n")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})


def _target(scope: Scope) -> str:
    """Return the path below where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _headers(scope: Scope) -> Headers:
    pairs = cast("Iterable[tuple[bytes, bytes]]", scope.get("headers", ()))
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]


def _peer(scope: Mapping[str, object], number: int) -> Peer:
    client = scope.get("client")
    if isinstance(client, list | tuple) and len(client) == 2:
        host, port = client
        # A proxy in between may have every port be 0.
        return Peer(address=f"[{host}]:{port}#{number}" if ":" in str(host) else f"{host}:{port}#{number}")
    return Peer(address=f"asgi:{number}")
