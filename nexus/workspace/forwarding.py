"""Ports that are opened while a workspace runs: a host port of our own leads to them, for as long as the manager lives.

The proxy's listening socket is its lease: nobody else can bind the port while it is open, and nothing is left of it when this program
ends, however it does. Its number is taken where no workspace's leased ports are looked for first.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.stapled import MultiListener

from nexus.errors import InvalidArgument, NexusError, NotFound, PortInUse, PortsExhausted
from nexus.models.activity import PortView
from nexus.models.ids import WorkspaceId
from nexus.models.ports import RESERVED_PORTS, OpenedPort, PortMapping, Visibility
from nexus.models.workspace import WorkspaceRecord
from nexus.ports import is_free, regions, who_listens
from nexus.workspace.background import Background
from nexus.workspace.connections import require_port
from nexus.workspace.context import Context
from nexus.workspace.visibility import bound

_log = logging.getLogger(__name__)

Connect = Callable[[int], Awaitable[ByteStream]]

_MOST: Final = 256
"""Connections that one opened port serves at the same time; more have to wait."""
_TRIES: Final = 200

_Listener = MultiListener[SocketStream]


class _Proxy(NamedTuple):
    opened: OpenedPort
    fixed: int | None
    scope: anyio.CancelScope
    listener: _Listener


class Forwarder:
    """The ports that one manager has opened.

    Args:
        context: The open repository.
        background: Where they are served.
    """

    def __init__(self, context: Context, background: Background) -> None:
        self._context = context
        self._background = background
        self._proxies: dict[tuple[WorkspaceId, int], _Proxy] = {}
        self._turn = anyio.Lock()

    async def open(
        self, record: WorkspaceRecord, port: int, *, host_port: int | None, visibility: Visibility, connect: Connect
    ) -> OpenedPort:
        """Open a port. One that is open already is returned as it is.

        Args:
            record: The workspace.
            port: The port inside.
            host_port: A fixed host port.
            visibility: Who may reach it.
            connect: Connects to a port of the workspace.

        Raises:
            PortInUse: When the host port is taken.
            PortsExhausted: When no host port is free.
            InvalidArgument: When it is open with another host port or visibility, or a number is no port.
            ConfigError: When it is for the organisation and the node names no address.
        """
        require_port(port)
        if host_port is not None:
            require_port(host_port)
        async with self._turn:
            known = self._proxies.get((record.id, port))
            if known is not None:
                if known.fixed != host_port or known.opened.visibility != visibility:
                    raise InvalidArgument(
                        f"port {port} of workspace {record.name!r} is open already, as {known.opened.url} ({known.opened.visibility})",
                        hint="close it first",
                    )
                return known.opened
            address = await self._address(port, visibility)
            listener = await self._listen(record, port, address, host_port)
            number = _port_of(listener)
            shown = "127.0.0.1" if visibility == "public" else address
            host = f"[{shown}]" if ":" in shown else shown
            opened = OpenedPort(
                container_port=port,
                host_port=number,
                visibility=visibility,
                address=shown,
                url=f"http://{host}:{number}",
            )
            what = f"the opened port {port} of workspace {record.name}"
            scope = await self._background.start(lambda: _serve(listener, port, connect, what), what=what)
            self._proxies[record.id, port] = _Proxy(opened, host_port, scope, listener)
            return opened

    async def close(self, record: WorkspaceRecord, port: int) -> None:
        """Close a port and its connections.

        Raises:
            NotFound: When it is not open.
        """
        proxy = self._proxies.pop((record.id, port), None)
        if proxy is None:
            raise NotFound(
                f"port {port} of workspace {record.name!r} was not opened here",
                hint="ports that the configuration declares stay open while it runs",
                details={"port": port},
            )
        await _end(proxy)

    async def close_all(self, identifier: WorkspaceId | None = None) -> None:
        """Close the ports of one workspace, or of all."""
        for key in [key for key in self._proxies if identifier in {None, key[0]}]:
            await _end(self._proxies.pop(key))

    def shown(self, identifier: WorkspaceId, views: tuple[PortView, ...]) -> tuple[PortView, ...]:
        """Return the ports of a workspace with those that are open beside what leads to them."""
        own = {port: proxy.opened for (owner, port), proxy in self._proxies.items() if owner == identifier}
        seen: list[PortView] = []
        for view in views:
            opened = own.get(view.container_port)
            if opened is None or view.name is not None:
                seen.append(view)
                continue
            del own[view.container_port]
            seen.append(view.model_copy(update=_fields(opened)))
        return (*seen, *(PortView(container_port=one.container_port, **_fields(one)) for one in own.values()))

    async def _address(self, port: int, visibility: Visibility) -> str:
        (mapping,) = await bound(
            self._context,
            [PortMapping(name=f"opened-{port}", container_port=port, host_port=port, visibility=visibility)],
        )
        return mapping.bind_address

    async def _listen(self, record: WorkspaceRecord, port: int, address: str, host_port: int | None) -> _Listener:
        leased = {row.port: row.owner for row in await self._context.registry.leases()}
        if host_port is not None:
            if host_port in RESERVED_PORTS or host_port in leased:
                raise _taken(host_port, "another workspace" if host_port in leased else "Nexus itself")
            listener = await _bind(address, host_port)
            if listener is None:
                holder = await anyio.to_thread.run_sync(lambda: who_listens(host_port))
                raise _taken(host_port, holder or "another program")
            return listener
        for number in candidates(f"{record.id}:{port}", self._context):
            if number not in leased and await anyio.to_thread.run_sync(is_free, number):
                listener = await _bind(address, number)
                if listener is not None:
                    return listener
        raise PortsExhausted(
            f"no host port is free for port {port} of workspace {record.name!r}",
            hint="close ports that are not needed, or widen port_range",
        )


def candidates(key: str, context: Context) -> Iterator[int]:
    """Give host ports to try: always the same ones first for the same port, so that a URL stays what it was where it can."""
    region = regions("", context.settings.port_range)[-1]
    size = region.end - region.start + 1
    start = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
    for step in range(min(_TRIES, size)):
        yield region.start + (start + step) % size


def _fields(opened: OpenedPort) -> dict[str, object]:
    return {
        "host_port": opened.host_port,
        "url": opened.url,
        "visibility": opened.visibility,
        "note": "opened by this program, until it closes it or ends",
    }


async def _bind(address: str, port: int) -> _Listener | None:
    try:
        return await anyio.create_tcp_listener(local_host=address, local_port=port, backlog=128)
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            return None
        raise


def _port_of(listener: _Listener) -> int:
    port: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no query of a database
    return port


def _taken(port: int, holder: str) -> PortInUse:
    return PortInUse(
        f"host port {port} is in use by {holder}",
        hint="leave the host port out to get any that is free",
        details={"port": port, "holder": holder},
    )


async def _end(proxy: _Proxy) -> None:
    proxy.scope.cancel()
    with anyio.CancelScope(shield=True):
        await proxy.listener.aclose()


async def _serve(listener: _Listener, port: int, connect: Connect, what: str) -> None:
    limiter = anyio.CapacityLimiter(_MOST)

    async def handle(outside: SocketStream) -> None:
        try:
            async with limiter, outside, await connect(port) as inside:
                await pump(outside, inside)
        except NexusError as error:
            _log.info("%s: a connection was refused: %s", what, error)
        except Exception as error:  # noqa: BLE001 - whatever happens to one connection, the others go on
            _log.warning("%s: a connection has ended: %r", what, error)

    async with listener:
        await listener.serve(handle)


async def pump(one: ByteStream, other: ByteStream) -> None:
    """Pass bytes between two connections until both have ended, or either has broken. Each may end its half first."""
    async with anyio.create_task_group() as group:

        async def copy(source: ByteStream, sink: ByteStream) -> None:
            try:
                while True:
                    try:
                        data = await source.receive()
                    except anyio.EndOfStream:
                        await sink.send_eof()
                        return
                    await sink.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                group.cancel_scope.cancel()

        group.start_soon(copy, one, other)
        group.start_soon(copy, other, one)
