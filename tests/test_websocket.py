"""Messages that are looked at the moment they arrive, over real connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from nexus.abc.transport import Peer, PromptTransport
from nexus.errors import ConnectionLost, NexusError, ProtocolError, SlowConsumer
from nexus.websocket import PromptConnection, WebSocketTransport


def keeping(offered: list[str | bytes]) -> Callable[[str | bytes], bool]:
    """What takes everything."""

    def take(message: str | bytes) -> bool:
        offered.append(message)
        return True

    return take


class Served(PromptConnection, ServerConnection):
    """Our end."""


@asynccontextmanager
async def pair(**options: object) -> AsyncGenerator[tuple[WebSocketTransport, ClientConnection], None]:
    """A transport, and the other end of it."""
    made: list[WebSocketTransport] = []
    ready, over = anyio.Event(), anyio.Event()

    async def handle(connection: ServerConnection) -> None:
        served = cast("Served", connection)
        made.append(WebSocketTransport(served, Peer(address="test"), **options))  # type: ignore[arg-type] # as given
        ready.set()
        await over.wait()

    async with serve(handle, "127.0.0.1", 0, compression=None, create_connection=Served, close_timeout=0.5) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", compression=None) as client:
            with anyio.fail_after(60):
                await ready.wait()
                try:
                    yield made[0], client
                finally:
                    over.set()


async def test_what_arrives_is_offered_while_somebody_waits_and_in_order() -> None:
    async with pair() as (transport, client):
        assert isinstance(transport, PromptTransport)
        seen: list[str | bytes] = []
        bunches = 0

        def take(message: str | bytes) -> bool:
            if message == "not this":
                return False
            seen.append(message)
            return True

        def taken() -> None:
            nonlocal bunches
            bunches += 1

        await client.send("before")
        assert await transport.receive() == "before"
        transport.hand_over(take, taken)
        for message in ("one", b"two", "not this", "three", "four", ["in ", "pieces"], "five"):
            await client.send(message)
        while "five" not in seen:
            seen.append(await transport.receive())
            if seen[-1] == "in pieces":  # the last may be taken from here on, if it has not come yet
                with anyio.move_on_after(0.5):
                    seen.append(await transport.receive())
        assert seen == ["one", b"two", "not this", "three", "four", "in pieces", "five"]
        assert bunches


async def test_nothing_is_offered_while_nobody_waits() -> None:
    async with pair() as (transport, client):
        offered: list[str | bytes] = []
        transport.hand_over(keeping(offered), lambda: None)
        await client.send("nobody waits")
        await (await client.ping())
        assert offered == []
        assert await transport.receive() == "nobody waits"


@pytest.mark.parametrize(
    ("message", "code"), [pytest.param(b"x" * 101, 1009, id="large"), pytest.param(b"\xff", 1007, id="no UTF-8")]
)
async def test_what_is_against_the_rules_is_not_offered(message: bytes, code: int) -> None:
    async with pair(most=100) as (transport, client):
        offered: list[str | bytes] = []
        transport.hand_over(keeping(offered), lambda: None)
        failures: list[NexusError] = []

        async def read() -> None:
            try:
                await transport.receive()
            except NexusError as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.lowlevel.checkpoint()
            await client.send(message, text=code == 1007)
        assert isinstance(failures[0], ProtocolError)
        assert not offered
        await client.wait_closed()
        assert client.close_code == code


async def test_what_can_be_sent_without_waiting_is_sent_whole_and_in_order() -> None:
    async with pair() as (transport, client):
        assert transport.send_now(["text", b"bytes", "\N{SNOWMAN}"])
        assert [await client.recv() for _ in range(3)] == ["text", b"bytes", "\N{SNOWMAN}"]
        block, sent = b"x" * 65536, 0
        while transport.send_now([block]):  # until nobody takes it any more
            sent += 1
        async with anyio.create_task_group() as group:
            group.start_soon(partial(transport.send, "the end"))
            for _ in range(sent):
                assert await client.recv() == block
            assert await client.recv() == "the end"
        assert transport.send_now(["again"])
        assert await client.recv() == "again"


async def test_how_it_ended_is_told() -> None:
    codes = {4004: lambda: SlowConsumer("too slow")}
    for code, expected in ((1000, ConnectionLost), (4004, SlowConsumer)):
        async with pair(codes=codes) as (transport, client):
            await client.close(code)
            with pytest.raises(expected):
                await transport.receive()
            assert not transport.send_now(["too late"])
