"""Everything a manager does about ports: what is there, connections to it, host ports that lead to it."""

from __future__ import annotations

from datetime import timedelta

import anyio
from anyio.abc import ByteStream

from nexus.models.activity import PortView
from nexus.models.ids import WorkspaceId
from nexus.models.ports import OpenedPort, Visibility
from nexus.workspace import connections, listening
from nexus.workspace.background import Background
from nexus.workspace.connections import OpenConnections
from nexus.workspace.context import Context
from nexus.workspace.forwarding import Forwarder

_CLOSING = 10.0


class PortAccess:
    """The ports of one repository's workspaces, as one manager reaches them. Closed with the manager.

    Args:
        context: The open repository.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._background = Background()
        self._connections = OpenConnections(context, self._background)
        self._forwarder = Forwarder(context, self._background)

    async def list(self, name: str) -> tuple[PortView, ...]:
        """Return a workspace's ports as they are now, those that were opened included."""
        record = await self._context.records.load(name)
        return self._forwarder.shown(record.id, await listening.list_ports(self._context, record))

    async def connect(self, name: str, port: int) -> ByteStream:
        """Connect to a port inside."""
        return await connections.connect(self._context, await self._context.records.load(name), port, self._connections)

    async def open(self, name: str, port: int, *, host_port: int | None, visibility: Visibility) -> OpenedPort:
        """Have a host port lead to a port inside."""
        record = await self._context.records.load(name)

        async def inside(number: int) -> ByteStream:
            return await self.connect(record.id, number)

        return await self._forwarder.open(record, port, host_port=host_port, visibility=visibility, connect=inside)

    async def close(self, name: str, port: int) -> None:
        """End what :meth:`open` began."""
        await self._forwarder.close(await self._context.records.load(name), port)

    async def wait(self, name: str, port: int, timeout: float | timedelta | None) -> None:
        """Return when something inside listens on a port."""
        await connections.wait_open(self._context, await self._context.records.load(name), port, timeout)

    async def forget(self, identifier: WorkspaceId) -> None:
        """Close what was opened for a workspace that is destroyed."""
        await self._forwarder.close_all(identifier)

    async def aclose(self) -> None:
        """Close everything that was opened."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING):
            await self._forwarder.close_all()
            await self._background.aclose()
