"""A half-open connection, and a client that takes nothing: both are noticed, in the time that was given, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import nexus
from nexus.client import dialer
from nexus.daemon.daemon import Daemon
from nexus.daemon.patience import Patience
from nexus.models.terminals import AttachRequest, TerminalRequest
from nexus.wire.limits import Limits
from tests.client.cutting import behind_a_proxy
from tests.daemon.talking import eventually
from tests.workbench import Bench, make_bench


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


async def test_a_client_that_is_silently_gone_is_let_go(bench: Bench) -> None:
    async with behind_a_proxy(bench, patience=Patience(ping=0.3)) as (client, proxy, daemon):
        terminals = client.terminals((await client.create("one")).info)
        info = await terminals.open(TerminalRequest(argv=("cat",)))
        session = await terminals.attach(info.id, AttachRequest(client="me"))
        proxy.freeze()
        hub = daemon._open.hub
        await eventually(lambda: not hub.connections)
        async with nexus.connect(daemon.dial, token=daemon.issue_token()) as other:
            seen = await other.terminals((await other.attach("one")).info).get(info.id)
            assert (seen.controller, seen.viewers) == (None, 0)
        proxy.thaw()
        await eventually(lambda: client._line.reconnected > 0)
        await session.write(b"back\n")
        assert (await terminals.get(info.id)).controller == "me"


async def test_a_daemon_that_is_silently_gone_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialer, "_PING_SECONDS", 0.3)
    async with behind_a_proxy(bench) as (client, proxy, _):
        first = client._line.current
        assert first is not None
        proxy.freeze()
        await eventually(first.lost.is_set)
        proxy.thaw()
        assert await client.list() == ()


@asynccontextmanager
async def reading_nothing(bench: Bench, **options: object) -> AsyncGenerator[tuple[ClientConnection, Daemon], None]:
    """A client that has asked for 40 MB and takes none of it."""
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, **options) as daemon,  # type: ignore[arg-type]
    ):
        ws = await nx.create("one", start=False)
        await ws.fs.write_text("f", "x" * 200_000)
        quiet = connect(daemon.url, subprotocols=["nexus.v1"], compression=None, max_size=None, max_queue=1)  # type: ignore[list-item]
        async with quiet as line:
            auth = {"protocol": {"min": 1, "max": 1}, "auth": {"token": daemon.issue_token()}}
            await line.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": auth}))
            await line.recv()
            ask = {"workspace": "one", "path": "f"}
            for number in range(1, 201):
                await line.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": "fs.readFile", "params": ask}))
            yield line, daemon
        await ws.destroy(force=True)


async def the_code(line: ClientConnection) -> int | None:
    """Read what there is, and return how it ended."""
    try:
        while True:
            await line.recv()
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"patience": Patience(send=0.2)}, id="for-too-long"),
        pytest.param({"limits": Limits(pending=300_000)}, id="of-too-much"),
    ],
)
async def test_whoever_takes_nothing_is_closed_and_told_why(bench: Bench, options: dict[str, object]) -> None:
    async with reading_nothing(bench, **options) as (line, daemon):
        (connection,) = daemon._open.connections
        await eventually(lambda: connection._close is not None)
        assert await the_code(line) == 4004
        await eventually(lambda: not daemon._open.hub.connections)
        async with nexus.connect(daemon.url, token=daemon.issue_token()) as other:  # nobody else suffers from it
            assert len(await other.list()) == 1
