"""``ws.connect(port)`` through a daemon: bytes both ways, half-close, and an end that is noticed at both ends."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.daemon.daemon import Daemon
from nexus.errors import PortNotOpen
from nexus.models.execution import Output
from tests.client.cutting import Proxy, behind_a_proxy
from tests.daemon.talking import eventually
from tests.workbench import Bench, make_bench

SERVER = """
import socket, struct, sys, threading

def say(text):
    print(text, flush=True)

def reverse(talk):  # answers only when it has heard everything
    heard = b""
    while data := talk.recv(65536):
        heard += data
    talk.sendall(heard[::-1])

def echo(talk):
    while data := talk.recv(65536):
        talk.sendall(data)
        if data == b"tell":
            say("told")
    say("heard the end")

def endless(talk):
    while talk.recv(65536):
        pass
    while True:
        talk.sendall(b"x" * 65536)

def slam(talk):
    talk.recv(1)
    talk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

def serve(talk):
    with talk:
        try:
            globals()[sys.argv[1]](talk)
        except OSError:
            say("broken")

listener = socket.create_server(("127.0.0.1", 0))
say(listener.getsockname()[1])
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


class Inside:
    """A program that listens in a workspace, and what it says."""

    def __init__(self, ws: nexus.Workspace, process: nexus.Process) -> None:
        self.ws = ws
        self.port = 0
        self._process = process
        self._said = b""

    async def line(self) -> str:
        while b"\n" not in self._said:
            event = await anext(aiter(self._process))
            if isinstance(event, Output):
                self._said += event.data
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()


@asynccontextmanager
async def listening(bench: Bench, mode: str) -> AsyncGenerator[tuple[Inside, Proxy, Daemon], None]:
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        ws = await client.create("one")
        async with ws.spawn(sys.executable, "-c", SERVER, mode) as process:
            inside = Inside(ws, process)
            inside.port = int(await inside.line())
            yield inside, proxy, daemon


async def all_closed(daemon: Daemon) -> None:
    """Return when the only connection has no streams but those of the program itself."""
    (connection,) = daemon._open.connections
    await eventually(
        lambda: len(connection.streams.outlets) == connection.wire.streams == 2 and not connection.streams.inlets
    )


async def test_bytes_go_both_ways_and_one_way_ends_before_the_other(bench: Bench) -> None:
    data = random.Random(1).randbytes(2_000_000)
    async with listening(bench, "reverse") as (inside, _, daemon):
        for _ in range(2):
            async with await inside.ws.connect(inside.port) as stream:
                await stream.send(data)
                await stream.send_eof()
                assert b"".join([piece async for piece in stream]) == data[::-1]
        await all_closed(daemon)
        with pytest.raises(PortNotOpen):
            await inside.ws.connect(1)


async def test_many_connections_at_once_keep_their_bytes_apart(bench: Bench) -> None:
    async with listening(bench, "echo") as (inside, _, daemon):

        async def talk(number: int) -> None:
            data, heard = random.Random(number).randbytes(200_000), b""
            async with await inside.ws.connect(inside.port) as stream, anyio.create_task_group() as both:
                both.start_soon(stream.send, data)
                while len(heard) < len(data):
                    heard += await stream.receive()
            assert heard == data

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(talk, number)
        await all_closed(daemon)


async def test_one_that_is_closed_half_read_ends_inside_too(bench: Bench) -> None:
    async with listening(bench, "endless") as (inside, _, daemon):
        async with await inside.ws.connect(inside.port) as stream:
            await stream.send_eof()
            await stream.receive()
        assert await inside.line() == "broken"
        await all_closed(daemon)


async def test_it_breaks_with_the_connection_and_ends_inside_too(bench: Bench) -> None:
    async with listening(bench, "echo") as (inside, proxy, _):
        async with await inside.ws.connect(inside.port) as stream:
            await stream.send(b"tell")
            assert await inside.line() == "told"
            assert await stream.receive() == b"tell"
            proxy.cut()
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(b"more")
        assert await inside.line() in {"heard the end", "broken"}
        async with await inside.ws.connect(inside.port) as stream:  # another one, over the next connection
            await stream.send(b"tell")
            assert await stream.receive() == b"tell"


async def test_a_program_inside_that_breaks_off_is_no_clean_end(bench: Bench) -> None:
    async with listening(bench, "slam") as (inside, _, _), await inside.ws.connect(inside.port) as stream:
        await stream.send(b"x")
        with pytest.raises(anyio.BrokenResourceError):
            await stream.receive()
