"""SIGKILL while a workspace with services and scripts, or one that is a private clone, goes up, down, to sleep or awake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import nexus
from nexus.models.workspace import Isolation, WorkspaceInfo
from tests.faults.killing import Nursery, Table
from tests.faults.test_killed_anywhere import Matrix, destroy_all
from tests.workbench import Bench, leftovers, make_bench

EVERY = "KILL_EVERYWHERE"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 if EVERY in os.environ else 300)]

MOVES = [
    pytest.param("start", "stopped", {"stopped", "running"}, id="start"),
    pytest.param("stop", "running", {"running", "stopped"}, id="stop"),
    pytest.param("pause", "running", {"running", "paused"}, id="pause"),
    pytest.param("resume", "paused", {"paused", "running"}, id="resume"),
]
_SERVICE_STATES = {"running": {"running"}, "paused": {"paused"}, "stopped": {"created", "exited", "absent"}}


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    made = make_bench(request.param, repository, tmp_path, request)
    service = {"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]}
    if request.param == "docker":
        service["image"] = str(made.flags["image"])  # type: ignore[assignment]
    trace = "/tmp/trace" if request.param == "docker" else tmp_path / "trace"
    made.extra |= {
        "services": {"one": service, "two": {**service, "depends_on": ["one"]}},  # type: ignore[dict-item]
        "scripts.pre-start": f"echo pre >>{trace}; sleep 0.05",
        "scripts.post-start": f"sleep 100000 & echo post >>{trace}",
        "scripts.pre-stop": f"echo stop >>{trace}",
        "hooks.on_wake": f"echo wake >>{trace}",
        "hooks.on_sleep": f"echo sleep >>{trace}",
    }
    return made


async def get_to(nx: nexus.WorkspaceManager, ws: nexus.Workspace, wanted: str) -> None:
    now = (await nx.get("victim")).status
    if now != wanted:
        if now == "paused":
            await ws.resume()
        await (ws.stop(grace=2) if wanted == "stopped" else ws.start() if wanted == "running" else ws.pause())


async def test_creation_with_services_and_scripts(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "create", title="create with services")

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        if infos:
            assert {service.state for service in infos[0].services} == {"running"}
            assert infos[0].degraded is None
            assert (await (await nx.attach("victim")).exec("true")).ok
            await nx.destroy("victim", force=True)
        return "finished" if infos else "undone"

    await matrix.run(destroy_all, judge, most=3 if place.backend == "docker" else 6)
    async with place.open() as nx:
        await destroy_all(nx)
    assert await leftovers(place) == []


@pytest.mark.parametrize(("operation", "begins", "ends"), MOVES)
async def test_services_move_with_their_workspace(
    place: Bench, nursery: Nursery, table: Table, operation: str, begins: str, ends: set[str]
) -> None:
    matrix = Matrix(place, nursery, table, operation, title=f"{operation} with services")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await get_to(nx, await matrix.work.make(nx), begins)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        matrix.work.require()
        status = str(infos[0].status)
        assert status in ends
        assert {service.state for service in infos[0].services} <= _SERVICE_STATES[status]
        ws = await nx.attach("victim")
        await get_to(nx, ws, "running")
        await ws.start()  # whatever was cut short, from here everything is as it should be
        info = await nx.get("victim")
        assert {service.name: service.state for service in info.services} == {"one": "running", "two": "running"}
        assert info.degraded is None
        return status

    await matrix.run(prepare, judge, most=2 if place.backend == "docker" else 5)
    async with place.open() as nx:
        await destroy_all(nx)
    matrix.work.require()
    assert await leftovers(place) == []


@pytest.mark.parametrize(("operation", "begins", "ends"), MOVES)
async def test_private_clones_move_and_keep_their_work(
    repository: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    nursery: Nursery,
    table: Table,
    operation: str,
    begins: str,
    ends: set[str],
) -> None:
    clone: Isolation = "clone"
    bench = make_bench("local", repository, tmp_path, request)
    bench.extra["isolation"] = clone
    matrix = Matrix(bench, nursery, table, operation, title=f"{operation} clone")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await get_to(nx, await matrix.work.make(nx), begins)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        assert (infos[0].isolation, infos[0].status in ends) == (clone, True)
        assert (infos[0].worktree_path / "idea.txt").read_text() == matrix.work.idea
        if infos[0].status == "running":
            assert (await (await nx.attach("victim")).exec("cat", "README.md")).stdout == matrix.work.draft
        return str(infos[0].status)

    await matrix.run(prepare, judge, most=5)
    async with bench.open() as nx:
        await destroy_all(nx)
    assert await leftovers(bench) == []
