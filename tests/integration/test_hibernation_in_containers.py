"""Processes that are kept by a real engine with CRIU go on in memory where they were, and what cannot go on is told.

Hardly any engine has a CRIU that works, so these are skipped where none has: see :func:`tests.engine.fixtures.criu_engine`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import nexus
from nexus.errors import Unsupported
from nexus.models.instances import LABEL_WORKSPACE
from nexus.models.workspace import WorkspaceStatus
from nexus.workspace.hibernating import KEPT
from tests.engine.fixtures import TEST_IMAGE
from tests.engine.raw import RawEngine
from tests.integration.test_checkpoints_in_containers import sql, with_postgres
from tests.workbench import Bench, leftovers

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(300)]

RUNNING, STOPPED = WorkspaceStatus.RUNNING, WorkspaceStatus.STOPPED
COUNTING = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
CLOCK: JsonValue = {"image": TEST_IMAGE, "command": ["sh", "-c", COUNTING]}


@pytest.fixture
def bench(repository: Path, criu_engine: str) -> Bench:
    flags: dict[str, JsonValue] = {"backend": "docker", "backends.docker.socket": criu_engine, "image": TEST_IMAGE}
    return Bench("docker", repository, flags, extra={"services.clock": CLOCK, "volumes": ["data:/data"]})


@pytest.fixture
def raw(criu_engine: str) -> RawEngine:
    return RawEngine(criu_engine)


async def count_in_background(ws: nexus.Workspace) -> None:
    """Have a program count in its memory that no command waits for."""
    await ws.shell(f"setsid sh -c '{COUNTING}' >/data/counted 2>&1 </dev/null &", check=True)


async def counted(ws: nexus.Workspace, *, beyond: int = 0) -> list[int]:
    """What that program has said by now, once it has counted further than ``beyond``."""
    with anyio.fail_after(60):
        while True:
            numbers = [int(line) for line in (await ws.exec("cat", "/data/counted")).stdout.split()]
            if numbers and numbers[-1] > beyond:
                return numbers


async def told(ws: nexus.Workspace, *, beyond: int = 0) -> list[int]:
    """The same of the service, which counts into its log."""
    with anyio.fail_after(60):
        while True:
            log = b"".join([chunk async for chunk in ws.logs(service="clock")]).decode()
            numbers = [int(line) for line in log.splitlines()]
            if numbers and numbers[-1] > beyond:
                return numbers


def went_on(numbers: list[int]) -> bool:
    """Whether somebody counted from one on without ever beginning anew, or missing one."""
    return numbers == list(range(1, len(numbers) + 1))


def checkpoints(raw: RawEngine, ws: nexus.Workspace) -> dict[str, list[str]]:
    """What the engine keeps of the processes of a workspace's containers."""
    return {
        number: [each["Name"] for each in raw.get(f"/containers/{number}/checkpoints") or ()]
        for number in raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]
    }


async def test_programs_of_the_workspace_and_of_its_services_count_on(bench: Bench, raw: RawEngine) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await count_in_background(ws)
        for paused in (False, True):
            own, theirs = (await counted(ws, beyond=5))[-1], (await told(ws, beyond=5))[-1]
            if paused:
                await ws.pause()
            await ws.stop(keep_processes=True)
            assert (ws.info.status, ws.info.status_message) == (STOPPED, KEPT)
            assert [len(names) for names in checkpoints(raw, ws).values()] == [1, 1]
            # Another process, which knows only what the engine and the record know.
            async with bench.open() as other:
                await (await other.attach("a")).start()
            assert ((await ws.refresh()).status, ws.info.status_message) == (RUNNING, None)
            assert went_on(await counted(ws, beyond=own + 5))
            assert went_on(await told(ws, beyond=theirs + 5))
            assert list(checkpoints(raw, ws).values()) == [[], []]
        await ws.stop(keep_processes=True)
        await ws.destroy(force=True)
    assert await leftovers(bench) == []


async def test_a_switch_there_and_back(bench: Bench) -> None:
    async with bench.open(**{"defaults.switch": "checkpoint"}) as nx:
        one, two = await nx.create("one"), await nx.create("two", start=False)
        await nx.switch("one")
        await count_in_background(one)
        before = (await counted(one))[-1]
        there = await nx.switch("two")
        assert (there.previous_status, there.warnings) == (STOPPED, ())
        back = await nx.switch("one")
        assert (back.previous_status, back.warnings) == (STOPPED, ())
        assert went_on(await counted(one, beyond=before))
        for each in (one, two):
            await each.destroy(force=True)


async def test_an_open_connection_is_refused_and_everything_goes_on(bench: Bench, raw: RawEngine) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await count_in_background(ws)
        talk = "sleep 1000 | nc -l -p 5000 >/dev/null & sleep 1; sleep 1000 | nc 127.0.0.1 5000 >/dev/null"
        await ws.shell(f"setsid sh -c '{talk}' >/dev/null 2>&1 </dev/null &", check=True)
        with anyio.fail_after(60):
            while "ESTABLISHED" not in (await ws.shell("netstat -tn")).stdout:
                pass  # each question takes its time
        with pytest.raises(Unsupported, match="CRIU could not") as refused:
            await ws.stop(keep_processes=True)
        assert "open TCP connections" in (refused.value.hint or "")
        assert not getattr(refused.value, "__notes__", [])
        assert (await ws.refresh()).status is RUNNING
        # The service had been kept by then, and goes on as well.
        assert went_on(await told(ws, beyond=(await told(ws))[-1] + 5))
        assert went_on(await counted(ws, beyond=(await counted(ws))[-1] + 5))
        assert list(checkpoints(raw, ws).values()) == [[], []]

        # A switch does not wait for it: it is stopped, and says why.
        bench.extra["defaults.switch"] = "checkpoint"
        async with bench.open() as switching:
            await switching.create("b", start=False)
            await switching.switch("a")
            outcome = await switching.switch("b")
        assert outcome.previous_status is STOPPED
        assert "its processes ended: processes cannot be kept: CRIU could not" in outcome.warnings[0]
        for name in ("a", "b"):
            await nx.destroy(name, force=True)


async def test_what_cannot_be_read_again_is_started_anew(bench: Bench, raw: RawEngine) -> None:
    folder = Path(raw.get("/info")["DockerRootDir"]) / "containers"
    if not folder.is_dir():
        pytest.skip("the engine's folder is not on this host")
    async with bench.open() as nx:
        ws = await nx.create("a")
        await count_in_background(ws)
        before = (await told(ws))[-1]
        await ws.stop(keep_processes=True)
        own = raw.labelled("dev.nexus.docker.ports")["containers"]
        (number,) = [each for each in checkpoints(raw, ws) if each in own]
        (kept,) = (folder / number / "checkpoints").iterdir()
        for image in kept.glob("core-*.img"):
            image.unlink()
        await ws.start()
        assert ws.info.status is RUNNING
        assert "started anew: the processes that were kept could not go on" in (ws.info.status_message or "")
        # Nothing that programs had written is lost, and its service was started anew with it.
        assert (await ws.exec("cat", "/data/counted")).stdout.startswith("1\n")
        assert not went_on(await told(ws, beyond=before))
        assert list(checkpoints(raw, ws).values()) == [[], []]

        # Only the service: it alone is started anew.
        await count_in_background(ws)
        await ws.stop(keep_processes=True)
        (number,) = [each for each in checkpoints(raw, ws) if each not in own]
        (kept,) = (folder / number / "checkpoints").iterdir()
        shutil.rmtree(kept)
        kept.mkdir()
        at = (await nx.get("a")).id
        await ws.start()
        assert (ws.info.id, ws.info.status, ws.info.status_message) == (at, RUNNING, None)
        assert went_on(await counted(ws, beyond=5))
        assert {each.name: each.state for each in ws.info.services} == {"clock": "running"}
        await ws.destroy(force=True)


async def test_a_database_server_goes_on_with_its_memory(
    repository: Path, engine: str, criu_engine: str, service_image: str
) -> None:
    if engine != criu_engine:
        pytest.skip("the engine that has the database's image keeps no processes")
    with_postgres(repository, service_image, volume=True)
    flags: dict[str, JsonValue] = {"backend": "docker", "backends.docker.socket": engine, "image": service_image}
    async with Bench("docker", repository, flags).open() as nx:
        ws = await nx.create("a")
        await sql(ws, "CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        began = await sql(ws, "SELECT pg_postmaster_start_time()")
        await ws.stop(keep_processes=True)
        await ws.start()
        assert await sql(ws, "SELECT pg_postmaster_start_time()") == began
        await sql(ws, "INSERT INTO t VALUES (2)")
        assert await sql(ws, "SELECT array_agg(x) FROM t") == "{1,2}"
        log = b"".join([chunk async for chunk in ws.logs(service="postgres")]).decode()
        assert "redo" not in log
        assert "PANIC" not in log
        await ws.destroy(force=True)
