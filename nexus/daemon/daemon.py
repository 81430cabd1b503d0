"""``Daemon``: serves the workspaces of one service to clients, wherever they are."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import anyio
from anyio.abc import TaskGroup

from nexus import __version__
from nexus.abc.clock import Clock
from nexus.abc.service import WorkspaceService
from nexus.abc.transport import Transport
from nexus.daemon.attending import attend
from nexus.daemon.connection import ServedConnection
from nexus.daemon.door import Door
from nexus.daemon.handlers import all_routes
from nexus.daemon.handshake import RPC_PATH, HandshakePolicy
from nexus.daemon.hub import Hub
from nexus.daemon.keys import Keys, MemoryKeys
from nexus.daemon.memory import memory_pair
from nexus.daemon.patience import DEFAULT_PATIENCE, Patience
from nexus.daemon.plan import PAGE_SCOPES, page_address
from nexus.daemon.principal import Scope
from nexus.daemon.revocation import MemoryRevocations, Revocations
from nexus.daemon.sockets import bind_tcp
from nexus.daemon.tokens import DEFAULT_LIFE, IssuedToken, Tokens
from nexus.errors import AuthError, TokenExpired, WrongLoop
from nexus.state.clock import SystemClock
from nexus.wire.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from nexus.daemon.websocket import Listener

_CLOSING: float = 10.0
_LOOK_AGAIN: float = 5.0
"""Seconds between two looks whether the tokens of open connections still hold."""


class Daemon:
    """Serves a workspace service. Use it as a context manager: it listens for as long as the block lasts.

    ::

        async with nexus.open() as nx, nexus.Daemon(nx) as daemon:
            token = daemon.issue_token(scopes=["fs:read", "exec"], workspaces=["feature-auth"], ttl="1h")
            async with nexus.connect(daemon.url, token=token) as remote: ...

    Leaving ends connections and the commands that were started through it; workspaces go on running.

    Args:
        service: What is served. It has to be open already.
        host: The address it listens on; ``None``: on none, but for ``sockets`` and what :meth:`serve_transport` is given.
        port: The TCP port; any free one when 0.
        sockets: Sockets that are bound already, TCP or Unix; they are closed on leaving.
        policy: Which web pages and host names may connect, beside programs of this machine.
        page: Whether it shows a page to browsers, on TCP; see :meth:`page_url`.
        tls: Encrypts what is sent.
        keys: What tokens are signed with; when absent new ones, so that no token outlives this daemon.
        revocations: The tokens that were taken back; kept in memory when absent.
        clock: The time that tokens are judged by.
        limits: What one connection may take.
        patience: How long a client that is silent or takes nothing is waited for.
        on_shutdown: Called when a client with the scope ``admin`` asks for ``daemon.shutdown``, which is refused when this is absent. It
            returns at once; whoever holds this daemon leaves its block then.
    """

    def __init__(
        self,
        service: WorkspaceService,
        *,
        host: str | None = "127.0.0.1",
        port: int = 0,
        sockets: Sequence[socket.socket] = (),
        policy: HandshakePolicy | None = None,
        page: bool = False,
        tls: ssl.SSLContext | None = None,
        keys: Keys | None = None,
        revocations: Revocations | None = None,
        clock: Clock | None = None,
        limits: Limits = DEFAULT_LIMITS,
        patience: Patience = DEFAULT_PATIENCE,
        on_shutdown: Callable[[], None] | None = None,
    ) -> None:
        self._service = service
        self._host = host
        self._port = port
        self._sockets = tuple(sockets)
        self._policy = policy or HandshakePolicy()
        self._page = page
        self._tls = tls
        self._limits = limits
        self._patience = patience
        self._on_shutdown = on_shutdown
        self._clock = time = clock or SystemClock()
        self.tokens = Tokens(keys or MemoryKeys(time), revocations or MemoryRevocations(time), time)
        """Issues, verifies and revokes tokens."""
        self.door = Door(self.tokens, time)
        """Who may come in."""
        self._routes = all_routes()
        self._running: AbstractAsyncContextManager[_Running] | None = None
        self._state: _Running | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortInUse: When the port is taken.
        """
        if self._running is not None:
            raise WrongLoop("this daemon runs already", hint="make another one for the same service")
        self._running = self._run()
        try:
            self._state = await self._running.__aenter__()
        except BaseException:
            self._running = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take no new connection, close those that are open, end the commands that were started here."""
        running, self._running, self._state = self._running, None, None
        if running is not None:
            await running.__aexit__(None, None, None)  # an error of the block goes on by itself

    @property
    def url(self) -> str:
        """Where it is reached over TCP: ``ws://127.0.0.1:40123/v1/rpc``.

        Raises:
            WrongLoop: When it does not listen on TCP, or does not run.
        """
        if self._open.url is None:
            raise WrongLoop("this daemon does not listen on TCP", hint="give it a host, or connect to its socket")
        return self._open.url

    def page_url(self, token: str | None = None, *, ttl: float | timedelta | str = DEFAULT_LIFE) -> str:
        """Return the address of the page, which holds a token: whoever has it may do what the token allows.

        The token stands behind the ``#``, which browsers send to nobody; the page takes it out of the address bar at once.

        Args:
            token: The token; a new one for all that the page does when absent.
            ttl: How long a new one holds.

        Raises:
            WrongLoop: When there is no page, it does not listen on TCP, or does not run.
        """
        if not self._page:
            raise WrongLoop("this daemon has no page", hint="make it with nexus.Daemon(…, page=True)")
        return page_address(self.url, token or self.issue_token(scopes=PAGE_SCOPES, ttl=ttl, subject="page"))

    def issue_token(
        self,
        *,
        scopes: Iterable[Scope | str] = (),
        workspaces: Iterable[str] | Literal["*"] = "*",
        ttl: float | timedelta | str = DEFAULT_LIFE,
        subject: str = "embedded",
    ) -> str:
        """Return a new token.

        Args:
            scopes: What it allows: ``fs:read``, ``fs:write``, ``exec``, ``terminal``, ``workspace:read``, ``workspace:write``, ``port``,
                ``config``, ``admin``; everything but ``admin`` when none is given.
            workspaces: The workspaces it is for, by name or id.
            ttl: How long it holds: seconds, a span, or text such as ``45m``; at most 24 hours.
            subject: Who it is for; for people and logs. Sessions and keys of different subjects know nothing of each other.

        Raises:
            InvalidArgument: When a scope is not known, or the time cannot be used.
        """
        return self.issue(scopes=scopes, workspaces=workspaces, ttl=ttl, subject=subject).token

    def issue(
        self,
        *,
        scopes: Iterable[Scope | str] = (),
        workspaces: Iterable[str] | Literal["*"] = "*",
        ttl: float | timedelta | str = DEFAULT_LIFE,
        subject: str = "embedded",
    ) -> IssuedToken:
        """Return a new token with what it is revoked by; otherwise as :meth:`issue_token`."""
        wanted = tuple(scopes) or tuple(scope for scope in Scope if scope is not Scope.ADMIN)
        return self.tokens.issue(subject=subject, scopes=wanted, workspaces=workspaces, ttl=ttl)

    async def serve_transport(self, transport: Transport) -> None:
        """Serve one connection until it ends, whatever carries it.

        Cancellation: the connection is closed.
        """
        self.door.arrive(transport.peer)
        await attend(transport, self.door, self.serve)

    async def serve(self, transport: Transport) -> None:
        """Serve one connection that somebody else attends to, such as a listener."""
        state = self._open
        served = ServedConnection(state.hub, transport, self._routes)
        state.connections.add(served)
        try:
            await served.serve()
        finally:
            state.connections.discard(served)

    async def drain(self) -> None:
        """Take no new request, and return when those that are under way have ended. Connections stay open.

        Cancellation: what still is under way goes on; new requests are refused all the same.
        """
        await self._open.hub.settle()

    def dismiss(self) -> None:
        """Close every connection, and tell each client that the daemon ends."""
        for connection in tuple(self._open.connections):
            connection.drain()

    async def dial(self) -> Transport:
        """Return the client's end of a new connection in memory: ``nexus.connect(daemon.dial, token=…)``."""
        client, ours = memory_pair()
        self._open.group.start_soon(self.serve_transport, ours)
        await anyio.lowlevel.checkpoint()
        return client

    @property
    def _open(self) -> _Running:
        if self._state is None:
            raise WrongLoop("this daemon does not run", hint="use it inside 'async with nexus.Daemon(…) as daemon'")
        return self._state

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[_Running, None]:
        async with anyio.create_task_group() as group:
            hub = Hub(
                self._service,
                self.door,
                group,
                limits=self._limits,
                patience=self._patience,
                on_shutdown=self._on_shutdown,
                version=__version__,
                repository=_repository(self._service),
            )
            group.start_soon(hub.events.run, self._service)
            async with AsyncExitStack() as stack:
                state = _Running(hub, group)
                group.start_soon(self._watch_tokens, state)
                await self._listen(state, stack)
                try:
                    yield state
                finally:
                    with anyio.move_on_after(_CLOSING, shield=True):
                        await state.drain()
            group.cancel_scope.cancel()

    def _shown(self) -> Literal["http", "https"] | None:
        if not self._page:
            return None
        return "http" if self._tls is None else "https"

    async def _watch_tokens(self, state: _Running) -> None:
        """End connections whose token was taken back: what comes on their streams, such as typing, is no request."""
        while True:
            await self._clock.sleep(_LOOK_AGAIN)
            for connection in tuple(state.connections):
                try:
                    if connection.principal is not None:
                        self.door.check(connection.principal)
                except TokenExpired:
                    pass  # what it has begun may end; new requests are refused
                except AuthError as error:
                    connection.end(error)

    async def _listen(self, state: _Running, stack: AsyncExitStack) -> None:
        bound = list(self._sockets)
        if self._host is not None:
            bound.append(bind_tcp(self._host, self._port))
        if not bound:
            return
        from nexus.daemon.websocket import listen  # noqa: PLC0415 - an embedded daemon need not load it

        for each in bound:
            unix = each.family == socket.AF_UNIX
            if not unix and state.url is None:
                state.url = _url(each, encrypted=self._tls is not None)
            policy = self._policy.model_copy(update={"any_host": True} if unix else {"page": self._shown()})
            listener = await stack.enter_async_context(
                listen(
                    each,
                    self.serve,
                    door=self.door,
                    policy=policy,
                    tls=None if unix else self._tls,
                    ping=self._patience.ping,
                )
            )
            state.listeners.append(listener)


class _Running:
    """What there is while a daemon runs."""

    def __init__(self, hub: Hub, group: TaskGroup) -> None:
        self.hub = hub
        self.group = group
        self.url: str | None = None
        self.listeners: list[Listener] = []
        self.connections: set[ServedConnection] = set()

    async def drain(self) -> None:
        """Take no new connection, tell the open ones, and end what was started through them."""
        for listener in self.listeners:
            listener.refuse()
        for connection in tuple(self.connections):
            connection.drain()
        async with anyio.create_task_group() as group:
            for command in self.hub.execs.all():
                group.start_soon(self.hub.execs.release, command)


def _url(bound: socket.socket, *, encrypted: bool) -> str:
    host, port = bound.getsockname()[:2]
    name = f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    return f"{'wss' if encrypted else 'ws'}://{name}:{port}{RPC_PATH}"


def _repository(service: WorkspaceService) -> str:
    repository = getattr(service, "repository", None)
    return str(getattr(repository, "root", ""))
