"""Connections to ports inside: they wake a workspace, and keep it awake for as long as they are open."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import anyio
from anyio.abc import ByteStream
from typing_extensions import override

from nexus.abc import SupportsConnect, SupportsListening
from nexus.errors import InvalidArgument, NexusError, OperationTimeout, PortNotOpen, WorkspaceStopped
from nexus.models.ids import WorkspaceId
from nexus.models.instances import Capability, InstanceState
from nexus.models.units import seconds
from nexus.models.workspace import WorkspaceRecord
from nexus.providers.relay import relayed
from nexus.workspace import attending, holding
from nexus.workspace.background import Background
from nexus.workspace.context import Context

_log = logging.getLogger(__name__)

HOLD_TTL: Final = timedelta(minutes=2)
"""How long an open connection keeps its workspace awake when the program that holds it is killed."""
_BEATS: Final = 4
_WAITING: Final = 0.1
_LONGEST_WAIT: Final = 1.0


class Connection(ByteStream):
    """A connection that is counted.

    Args:
        stream: The provider's own.
        closed: Called once when it is closed.
    """

    def __init__(self, stream: ByteStream, closed: Callable[[], None]) -> None:
        self._stream = stream
        self._closed: Callable[[], None] | None = closed

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._stream.receive(max_bytes)

    @override
    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    @override
    async def send_eof(self) -> None:
        await self._stream.send_eof()

    @override
    async def aclose(self) -> None:
        closed, self._closed = self._closed, None
        try:
            await self._stream.aclose()
        finally:
            if closed is not None:
                closed()


class OpenConnections:
    """Counts the connections of one manager, and holds the workspaces awake that have some.

    The hold is a file, so that whoever else watches over idleness sees it. It is renewed for as long as a connection is open and
    ends by itself when this program is killed.
    """

    def __init__(self, context: Context, background: Background) -> None:
        self._context = context
        self._background = background
        self._open: Counter[WorkspaceId] = Counter()
        self._held: set[WorkspaceId] = set()
        self._beating: set[WorkspaceId] = set()

    async def opened(self, record: WorkspaceRecord, stream: ByteStream) -> Connection:
        """Return the connection, counted from now on."""
        self._open[record.id] += 1
        if record.id not in self._beating:
            self._beating.add(record.id)
            await self._background.start(
                lambda: self._hold(record), what=f"keeping workspace {record.name} awake for its connections"
            )
        return Connection(stream, lambda: self._closed(record.id))

    def _closed(self, identifier: WorkspaceId) -> None:
        self._open[identifier] -= 1

    async def _hold(self, record: WorkspaceRecord) -> None:
        """Hold until the last connection has been closed for a beat."""
        name = f"connections-{os.getpid()}"
        try:
            while self._open[record.id] > 0:
                count = self._open[record.id]
                reason = f"{count} open connection{'' if count == 1 else 's'} to its ports"
                try:
                    await holding.take(self._context, record, name, ttl=HOLD_TTL, reason=reason)
                except NexusError as error:
                    _log.warning("workspace %s cannot be held awake for its connections: %s", record.name, error)
                await anyio.sleep(HOLD_TTL.total_seconds() / _BEATS)
        finally:
            self._beating.discard(record.id)
            with anyio.CancelScope(shield=True):
                try:
                    await self._context.holds.delete(record.id, name)
                except NexusError as error:
                    _log.info("the hold of workspace %s ends by itself: %s", record.name, error)


async def connect(context: Context, record: WorkspaceRecord, port: int, connections: OpenConnections) -> Connection:
    """Connect to a TCP port inside, waking the workspace when nothing but idleness stopped it.

    Raises:
        PortNotOpen: When nothing accepts connections there.
        WorkspaceStopped: When its user stopped or paused it.
        Unsupported: When the backend has no way to it.
    """
    require_port(port)
    await context.in_use.mark(record.id)
    try:
        stream = await _connect(context, record, port)
    except WorkspaceStopped:
        if not await attending.wake(context, record.name):
            raise
        record = await context.records.load(record.id)
        stream = await _connect(context, record, port)
    try:
        return await connections.opened(record, stream)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
        raise


async def _connect(context: Context, record: WorkspaceRecord, port: int) -> ByteStream:
    instance = await context.backends.instance(record)
    inside = await number_inside(context, record, port)
    if isinstance(instance, SupportsConnect):
        return await instance.connect(inside)
    if (await instance.status()).state is not InstanceState.RUNNING:
        raise WorkspaceStopped(f"workspace {record.name!r} does not run", hint="start it first")
    return await relayed(instance.spawn, inside, address="127.0.0.1", workspace=record.name)


async def number_inside(context: Context, record: WorkspaceRecord, port: int) -> int:
    """Return the number that a program really listens on: where a backend does not translate, the leased host port itself."""
    info = await context.backends.probe(record.backend)
    if Capability.PORTS in info.capabilities:
        return port
    declared = {mapping.container_port: mapping for mapping in record.port_mappings if mapping.protocol == "tcp"}
    return declared[port].host_port if port in declared else port


async def wait_open(context: Context, record: WorkspaceRecord, port: int, timeout: float | timedelta | None) -> None:
    """Return when something inside listens on a port.

    Raises:
        OperationTimeout: When nothing does in time.
        WorkspaceNotFound: When the workspace is destroyed meanwhile.
    """
    require_port(port)
    limit = seconds(timeout, name="timeout")
    pause = _WAITING
    with anyio.move_on_after(limit):
        while not await _is_open(context, record, port):
            await anyio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_WAIT)
            record = await context.records.load(record.id)
        return
    raise OperationTimeout(
        f"nothing in workspace {record.name!r} listened on port {port} within {limit:g} s",
        hint="look at the log of the program that should",
        details={"port": port},
    )


async def _is_open(context: Context, record: WorkspaceRecord, port: int) -> bool:
    instance = await context.backends.instance(record)
    try:
        listeners = await instance.listeners() if isinstance(instance, SupportsListening) else None
        if listeners is not None:
            inside = await number_inside(context, record, port)
            return any(one.port == inside and one.protocol == "tcp" for one in listeners)
        # A look would be better: a server that serves once has served by this.
        await (await _connect(context, record, port)).aclose()
    except (PortNotOpen, WorkspaceStopped):
        return False
    return True


def require_port(port: int) -> None:
    """Refuse a number that is no port.

    Raises:
        InvalidArgument: When it is none.
    """
    if not 1 <= port <= 65535:
        raise InvalidArgument(f"{port} is no port: ports are 1 to 65535")
