"""``ports.*``: what listens inside, and ways to it."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import anyio
from anyio.abc import ByteStream

from nexus.daemon.call import Call, Routes
from nexus.daemon.feeds import Feed
from nexus.daemon.inlets import Inlet
from nexus.errors import ConnectionLost
from nexus.models.ports import OpenedPort
from nexus.wire.methods import ports as methods
from nexus.wire.methods.table import Nothing, OfWorkspace

ROUTES: Final = Routes()
_PIECE: Final = 65_536


@ROUTES.on(methods.LIST)
async def list_all(call: Call, params: OfWorkspace) -> methods.PortList:
    """Return its ports."""
    return methods.PortList(items=await call.service.list_ports(params.workspace))


@ROUTES.on(methods.OPEN)
async def open_port(call: Call, params: methods.OpenPort) -> OpenedPort:
    """Make a port reachable."""
    return await call.service.open_port(
        params.workspace, params.port, host_port=params.host_port, visibility=params.visibility
    )


@ROUTES.on(methods.CLOSE)
async def close_port(call: Call, params: methods.ClosePort) -> Nothing:
    """End that."""
    await call.service.close_port(params.workspace, params.port)
    return Nothing()


@ROUTES.on(methods.WAIT)
async def wait(call: Call, params: methods.WaitPort) -> Nothing:
    """Wait until something listens."""
    limit = None if params.timeout_ms is None else params.timeout_ms / 1000
    await call.service.wait_port(params.workspace, params.port, timeout=limit)
    return Nothing()


@ROUTES.on(methods.CONNECT)
async def connect(call: Call, params: methods.OfPort) -> methods.Connected:
    """Connect to a port inside. The connection ends with this one."""
    stream = await call.service.connect_port(params.workspace, params.port)
    feed, inlet = Feed(f"pc_{uuid4().hex[:16]}", ("data",), call.hub.limits.stream_window * 2, "block"), Inlet()
    try:
        outlet = call.connection.attach(feed, {}, owner=True)
        id = call.connection.receive_into(inlet, stream=outlet.streams["data"])  # noqa: A001
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
        raise
    call.connection.group.start_soon(_carry, stream, feed, inlet)
    return methods.Connected(stream=id)


async def _carry(stream: ByteStream, feed: Feed, inlet: Inlet) -> None:
    """Carry bytes both ways until both are at their end, or one breaks."""
    try:
        async with stream, anyio.create_task_group() as group:

            async def inwards() -> None:
                try:
                    while True:
                        data = await inlet.receive()
                        await stream.send(data)
                        inlet.done(len(data))
                except anyio.EndOfStream:
                    await stream.send_eof()
                except (anyio.BrokenResourceError, ConnectionLost):
                    group.cancel_scope.cancel()

            group.start_soon(inwards)
            try:
                while True:
                    await feed.put("data", await stream.receive(_PIECE))
            except anyio.EndOfStream:
                feed.end()
            except anyio.BrokenResourceError:
                feed.end(ConnectionLost("the program inside has broken the connection off"))
                group.cancel_scope.cancel()
    finally:
        feed.end()
