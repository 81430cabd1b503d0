"""SIGKILL while processes are kept on the disk, and while they are let go on: a program counts on, whatever happened."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

import nexus
from nexus.models.workspace import WorkspaceInfo
from tests.engine.fixtures import TEST_IMAGE
from tests.faults.killing import Nursery, Table
from tests.faults.test_killed_anywhere import Matrix, destroy_all
from tests.integration.test_hibernation_in_containers import CLOCK, count_in_background, counted, told, went_on
from tests.workbench import Bench, leftovers

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def place(repository: Path, criu_engine: str) -> Bench:
    flags = {"backend": "docker", "backends.docker.socket": criu_engine, "image": TEST_IMAGE}
    return Bench("docker", repository, {**flags}, extra={"services.clock": CLOCK, "volumes": ["data:/data"]})


@pytest.mark.parametrize("operation", ["stop", "start"])
async def test_programs_count_on(place: Bench, nursery: Nursery, table: Table, operation: str) -> None:
    matrix = Matrix(place, nursery, table, operation, title=f"{operation} with processes kept")
    seen: list[int] = []

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        ws = await matrix.work.make(nx)
        await ws.start()
        if not seen:
            await count_in_background(ws)
        seen.append((await counted(ws))[-1])
        if operation == "start":
            await ws.stop(keep_processes=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        assert infos[0].status in {"stopped", "running"}
        ws = await nx.attach("victim")
        await ws.start()
        assert ws.info.status_message is None
        assert went_on(await counted(ws, beyond=seen[-1]))
        assert went_on(await told(ws))
        return str(infos[0].status)

    await matrix.run(prepare, judge, most=4, keep=True)
    async with place.open() as nx:
        await destroy_all(nx)
    assert await leftovers(place) == []


async def test_whoever_comes_while_the_engine_writes_waits_for_it(place: Bench) -> None:
    async with place.open() as nx:
        ws = await nx.create("victim")
        await count_in_background(ws)
        before = (await counted(ws, beyond=5))[-1]
        context = nx._open
        record = await context.records.load("victim")
        instance = await context.backends.instance(record)
        # As after a kill: the engine has been asked, and nobody waits for its answer who could tell the next one.
        async with anyio.create_task_group() as group:
            group.start_soon(instance.hibernate)  # type: ignore[attr-defined]
            async with place.open() as other:
                await (await other.attach("victim")).stop(keep_processes=True)
        await ws.start()
        assert went_on(await counted(ws, beyond=before))
        await destroy_all(nx)
