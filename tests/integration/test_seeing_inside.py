"""What goes on inside is seen from outside, on backends that run real programs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.models.events import PortClosed, PortOpened, WorkspaceEvent
from nexus.models.workspace import WorkspaceStatus
from nexus.testing import ManualClock
from tests.workbench import Bench, leftovers, make_bench

ON_LOCAL = (
    "import os, socket, time; s = socket.create_server(('127.0.0.1', int(os.environ['PORT'])));"
    " t = socket.create_server((os.environ['HOST'], 0)); print(t.getsockname()[1], flush=True); time.sleep(300)"
)
SERVERS = "serve() { while :; do nc -l -p $1 </dev/null; done; }; serve 5173 & serve 8080"


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


async def ports_until(
    events: AsyncIterator[WorkspaceEvent], kind: type[PortOpened | PortClosed], count: int
) -> set[object]:
    found: set[object] = set()
    async for event in events:
        if isinstance(event, kind):
            found.add(event.port_name or event.port)
            if len(found) == count:
                return found
    raise AssertionError(found)


async def test_ports_that_open_are_told_and_listed_with_their_addresses(bench: Bench) -> None:
    async with bench.open(**{"ports.web": 8080}) as nx, nx.events() as events, anyio.create_task_group() as group:
        ws = await nx.create("a")
        (web,) = await ws.list_ports()
        assert (web.name, web.listening) == ("web", False)
        group.start_soon(partial(nx.watch_ports, every=0.3))
        if bench.backend == "local":
            process = await ws.spawn(sys.executable, "-c", ON_LOCAL)
        else:
            process = await ws.spawn("sh", "-c", SERVERS)
        with anyio.fail_after(40):
            opened = await ports_until(events, PortOpened, 2)
        assert "web" in opened
        declared, unasked = await ws.list_ports()
        assert (declared.name, declared.listening, declared.note) == ("web", True, "")
        assert declared.url == ws.ports["web"].url == f"http://127.0.0.1:{declared.host_port}"
        assert unasked.container_port in opened
        assert (unasked.url is None) is (bench.backend == "docker"), "only a host port leads into a container"
        await process.aclose()
        with anyio.fail_after(40):
            assert await ports_until(events, PortClosed, 2) == opened
        group.cancel_scope.cancel()
    async with bench.open() as nx:
        await nx.destroy("a")
    assert await leftovers(bench) == []


async def test_work_of_another_program_keeps_a_workspace_awake(bench: Bench) -> None:
    clock = ManualClock()
    manager = nexus.open(bench.repository, flags=bench.flags, clock=clock)
    async with manager as nx, bench.open() as other, nx.events() as events, anyio.create_task_group() as group:
        ws = await nx.create("a")
        process = await (await other.attach("a")).spawn("sleep", "300")
        assert (await ws.refresh()).awake_because[0] == "running: sleep"
        group.start_soon(nx.watch_idle)
        for _ in range(3):
            await clock.at_rest(2)
            clock.advance(31 * 60)
        await clock.at_rest(2)
        assert await ws.status() is WorkspaceStatus.RUNNING
        await process.aclose()
        clock.advance(31 * 60)
        with anyio.fail_after(40):
            async for event in events:
                if getattr(event, "status", None) is WorkspaceStatus.PAUSED:
                    break
        assert (await ws.exec("echo", "awake")).stdout == "awake\n"
        assert await ws.status() is WorkspaceStatus.RUNNING

        # Asleep for long it is stopped, and comes back all the same.
        for minutes, wanted in ((31, WorkspaceStatus.PAUSED), (241, WorkspaceStatus.STOPPED)):
            await clock.at_rest(2)
            clock.advance(minutes * 60)
            with anyio.fail_after(40):
                async for event in events:
                    if getattr(event, "status", None) is wanted:
                        break
        assert (await ws.refresh()).asleep_since is not None
        assert (await ws.exec("echo", "again")).stdout == "again\n"
        group.cancel_scope.cancel()
    async with bench.open() as nx:
        await nx.destroy("a")
    assert await leftovers(bench) == []
