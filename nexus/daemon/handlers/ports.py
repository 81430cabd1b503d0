"""``ports.*``: what listens inside, and ways to it."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import anyio
from anyio.abc import ByteStream
from typing_extensions import override

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


class _Answers(Feed):
    """What comes back from a port. Its only reader is whoever connected: when they are gone, so is the connection."""

    def __init__(self, capacity: int) -> None:
        super().__init__(f"pc_{uuid4().hex[:16]}", ("data",), capacity, "block")
        self.scope = anyio.CancelScope()

    @override
    def refused(self) -> None:
        self.scope.cancel()


@ROUTES.on(methods.CONNECT)
async def connect(call: Call, params: methods.OfPort) -> methods.Connected:
    """Connect to a port inside. The connection ends with this one."""
    stream = await call.service.connect_port(params.workspace, params.port)
    feed, inlet = _Answers(call.hub.limits.stream_window * 2), Inlet()
    try:
        outlet = call.connection.streams.attach(feed, {}, owner=True)
        id = call.connection.streams.receive_into(inlet, stream=outlet.streams["data"])  # noqa: A001
    except BaseException:
        with anyio.CancelScope(shield=True):
            await stream.aclose()
        raise
    call.connection.group.start_soon(_carry, stream, feed, inlet)
    return methods.Connected(stream=id)


async def _carry(stream: ByteStream, feed: _Answers, inlet: Inlet) -> None:
    """Carry bytes both ways until both are at their end, or one breaks."""
    try:
        with feed.scope:
            async with stream, anyio.create_task_group() as group:
                group.start_soon(_inwards, stream, inlet, feed.scope)
                await _outwards(stream, feed)
    finally:
        if not feed.ended.is_set():
            feed.end(ConnectionLost("the program inside has broken the connection off"))


async def _inwards(stream: ByteStream, inlet: Inlet, scope: anyio.CancelScope) -> None:
    try:
        try:
            while True:
                data = await inlet.receive()
                await stream.send(data)
                inlet.done(len(data))
        except anyio.EndOfStream:
            await stream.send_eof()
    except (anyio.BrokenResourceError, ConnectionLost):
        scope.cancel()


async def _outwards(stream: ByteStream, feed: _Answers) -> None:
    try:
        while True:
            await feed.put("data", await stream.receive(_PIECE))
    except anyio.EndOfStream:
        feed.end()
    except anyio.BrokenResourceError:
        feed.scope.cancel()
