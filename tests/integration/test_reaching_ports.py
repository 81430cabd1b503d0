"""Ports inside are reached from here: connected to, opened on the host, waited for; on backends that run real programs."""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from anyio.abc import ByteStream

import nexus
from nexus.errors import InvalidArgument, NotFound, OperationTimeout, PortInUse, PortNotOpen, WorkspaceStopped
from nexus.models.workspace import WorkspaceStatus
from nexus.testing import ManualClock
from tests.unused_ports import unused_port
from tests.workbench import Bench, make_bench

T = TypeVar("T")

ECHO = """
import socket, sys, threading
def serve(c):
    while data := c.recv(65536): c.sendall(data)
    c.shutdown(socket.SHUT_WR); c.close()
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as s:
    while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


def echo(bench: Bench, port: int) -> tuple[str, ...]:
    """A server that sends back what it gets, and ends its half when the other has ended."""
    if bench.backend == "local":
        return (sys.executable, "-c", ECHO, "127.0.0.1", str(port))
    return ("nc", "-ll", "-p", str(port), "-e", "cat")


def files(bench: Bench, port: int) -> tuple[str, ...]:
    """A server that only programs inside can reach, which serves the files of the tree."""
    if bench.backend == "local":
        return (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    return ("httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", ".")


async def fetched(stream: ByteStream) -> bytes:
    async with stream:
        await stream.send(b"GET /data HTTP/1.0\r\n\r\n")
        return (await all_of(stream)).partition(b"\r\n\r\n")[2]


async def all_of(stream: ByteStream) -> bytes:
    received = bytearray()
    with anyio.move_on_after(60):
        while True:
            try:
                received += await stream.receive()
            except anyio.EndOfStream:
                return bytes(received)
    pytest.fail(f"the other side has not ended after {len(received)} bytes: {bytes(received[:200])!r}")


async def exchange(stream: ByteStream, data: bytes) -> bytes:
    """Send and end the sending half while everything that comes back is read."""

    async def send() -> None:
        await stream.send(data)
        await stream.send_eof()

    received: list[bytes] = []
    async with stream, anyio.create_task_group() as group:
        group.start_soon(send)
        received.append(await all_of(stream))
    return received[0]


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """Look until there is something to be seen."""
    with anyio.fail_after(60):
        while True:
            found = await look()
            if found:
                return found
            await anyio.sleep(0.01)


@pytest.mark.slow
async def test_a_port_is_connected_to_and_opened_and_waited_for(bench: Bench) -> None:
    port, other = unused_port(), unused_port()
    async with bench.open() as nx:
        async with nx.create("a", on_exit="keep") as ws:
            with pytest.raises(PortNotOpen):
                await ws.connect(port)
            with pytest.raises(OperationTimeout):
                await ws.wait_open(port, timeout=0.05)
            data = bytes(range(256)) * 2000
            await ws.fs.write_bytes("data", data)
            async with ws.spawn(*files(bench, port)), ws.spawn(*echo(bench, other)):
                await ws.wait_open(port, timeout=60)
                await ws.wait_open(other, timeout=60)
                assert await fetched(await ws.connect(port)) == data
                assert await exchange(await ws.connect(other), data) == data
                async with ws.open_port(port) as opened:
                    assert opened == await nx.open_port("a", port), "one that is open is returned as it is"
                    assert opened.url == f"http://127.0.0.1:{opened.host_port}"
                    (view,) = [one for one in await ws.list_ports() if one.container_port == port]
                    assert (view.host_port, view.url, view.visibility) == (opened.host_port, opened.url, "private")
                    rude = await anyio.connect_tcp("127.0.0.1", opened.host_port)
                    await rude.send(b"GET")
                    await anyio.aclose_forcefully(rude)
                    outside = await anyio.connect_tcp("127.0.0.1", opened.host_port)
                    assert await fetched(outside) == data
                    with pytest.raises(InvalidArgument, match="is open already"):
                        await ws.open_port(port, visibility="public")
                    with pytest.raises(PortInUse):
                        await ws.open_port(other, host_port=opened.host_port)
                with pytest.raises(OSError, match="connect"):
                    await anyio.connect_tcp("127.0.0.1", opened.host_port)
                with pytest.raises(NotFound):
                    await ws.close_port(port)
                again = await ws.open_port(port)
                assert again.host_port == opened.host_port, "the URL stays what it was"
            await ws.stop()
            with pytest.raises(WorkspaceStopped):
                await ws.connect(port)
        await ws.destroy(force=True)
        with pytest.raises(OSError, match="connect"):
            await anyio.connect_tcp("127.0.0.1", again.host_port)


async def test_what_listens_on_this_host_is_not_reached_through_a_workspace(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    with socket.create_server(("127.0.0.1", 0)) as secret:
        async with bench.open() as nx, nx.create("a") as ws:
            with pytest.raises(PortNotOpen):
                await ws.connect(secret.getsockname()[1])
            for number in (0, 65536, -1):
                with pytest.raises(InvalidArgument):
                    await ws.connect(number)


async def test_a_declared_port_is_reached_by_its_own_number_where_nothing_translates(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    async with (
        bench.open(**{"ports.web": 8080}) as nx,
        nx.create("a") as ws,
        ws.spawn(*echo(bench, ws.ports["web"].host_port)),
    ):
        await ws.wait_open(8080, timeout=60)
        assert await exchange(await ws.connect(8080), b"hello") == b"hello"


async def test_an_open_connection_keeps_awake_and_a_new_one_wakes(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    clock, port = ManualClock(), unused_port()
    nx = nexus.open(bench.repository, flags={**bench.flags, "defaults.idle_timeout": "10m"}, clock=clock)
    # A server that only waits does not keep its workspace awake.
    async with nx, nx.create("a") as ws, ws.spawn(*echo(bench, port), keeps_awake=False):
        await ws.wait_open(port, timeout=60)
        stream = await ws.connect(port)
        (hold,) = await until(ws.holds)
        assert hold.reason == "1 open connection to its ports"
        assert any("open connection" in line for line in (await ws.refresh()).awake_because)
        await stream.aclose()
        await nx._open.holds.delete(ws.id, hold.name)  # as the next beat does
        async with anyio.create_task_group() as group:
            group.start_soon(nx.watch_idle)
            await clock.at_rest(2)  # the watch, and who keeps prebuilt images fresh
            clock.advance(timedelta(minutes=11))

            async def asleep() -> bool:
                return (await ws.refresh()).asleep_since is not None

            await until(asleep)
            group.cancel_scope.cancel()
        assert await exchange(await ws.connect(port), b"wake") == b"wake"
        assert await ws.status() is WorkspaceStatus.RUNNING


async def test_a_backend_without_real_programs_refuses(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("mock", repository, tmp_path, request)
    async with bench.open() as nx, nx.create("a") as ws:
        with pytest.raises(PortNotOpen):  # as far as its shell, which has no program to connect with, can tell
            await ws.connect(3000)
        opened = await ws.open_port(3000)
        outside = await anyio.connect_tcp("127.0.0.1", opened.host_port)
        async with outside:
            assert await all_of(outside) == b"", "the connection ends at once"


async def test_settings_are_told_by_the_service(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("mock", repository, tmp_path, request)
    async with bench.open(**{"env.API_KEY": "hush", "defaults.idle_timeout": "7m"}) as nx:
        assert await nx.setting("env.API_KEY") == "***"
        why = await nx.explain("defaults.idle_timeout")
        assert why.winner == "flags"
        assert why.layers[-1].wins
        assert "flag" in why.text
        assert type(why).model_validate_json(why.model_dump_json()) == why
        with pytest.raises(nexus.NexusError) as caught:
            await nx.setting("no.such")
        assert caught.value.code == "CONFIG_INVALID"
