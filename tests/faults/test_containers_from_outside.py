"""What somebody does to our containers with the engine's own commands, and what an engine does when it ends."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import nexus
from nexus.errors import ProviderUnavailable
from nexus.models.ids import new_workspace_id
from nexus.models.workspace import WorkspaceStatus
from nexus.testing.engines import PrivateEngine, why_not
from nexus.testing.images import rootfs
from tests.engine.fixtures import TEST_IMAGE
from tests.engine.raw import RawEngine
from tests.requiring import do_without
from tests.workbench import Bench, leftovers, make_bench

S = WorkspaceStatus


@pytest.mark.docker
async def test_containers_that_others_stop_pause_restart_and_remove(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    docker = make_bench("docker", repository, tmp_path, request)
    engine = RawEngine(str(docker.flags["backends.docker.socket"]))

    async def seen(nx: nexus.WorkspaceManager) -> tuple[WorkspaceStatus, bool]:
        (entry,) = await nx.list()
        assert isinstance(entry, nexus.WorkspaceInfo)
        return entry.status, entry.missing

    async with docker.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea.txt", "precious\n")

        def act(verb: str, how: str = "POST") -> None:
            (number,) = engine.labelled(f"dev.nexus.workspace={ws.id}")["containers"]
            path = f"/containers/{number}/{verb}" if verb else f"/containers/{number}?force=1"
            assert engine.call(how, path)[0] in {200, 204}

        async def works() -> None:
            await ws.start()
            assert await seen(nx) == (S.RUNNING, False)
            assert (await ws.exec("cat", "idea.txt")).stdout == "precious\n"

        act("pause")
        assert await seen(nx) == (S.PAUSED, False)
        assert [f for f in await nx.doctor() if f.level in {"warning", "error"}] == []
        await works()
        await ws.pause()
        act("unpause")
        assert await seen(nx) == (S.RUNNING, False)
        await ws.resume()
        await works()
        act("stop?t=0")
        assert await seen(nx) == (S.STOPPED, False)
        await works()
        act("restart?t=0")
        assert await seen(nx) == (S.RUNNING, False)
        await works()
        await nx.switch("a")
        act("", "DELETE")
        assert await seen(nx) == (S.STOPPED, True)
        (told,) = [f for f in await nx.doctor(fix=True) if f.level in {"warning", "error"}]
        assert told.check == "workspace a"
        assert "removed" in told.message
        assert "boulder ws up a" in str(told.hint)
        await works()
        act("", "DELETE")
        await ws.destroy(force=True)
        (rescue,) = await nx.rescues("a")
        assert rescue.files == 1
    assert await leftovers(docker) == []


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_an_engine_that_restarts_and_one_that_is_killed_lose_nothing(repository: Path, tmp_path: Path) -> None:
    reason = why_not(own_network=True)
    if reason is not None:
        do_without("docker", reason)
    engine = PrivateEngine(own_network=True)
    flags: dict[str, JsonValue] = {"backend": "docker", "backends.docker.socket": engine.address, "image": TEST_IMAGE}
    bench = Bench("docker", repository, flags)
    try:
        await anyio.to_thread.run_sync(engine.start)
        await anyio.to_thread.run_sync(RawEngine(engine.address).import_image, rootfs(), TEST_IMAGE)
        async with bench.open() as nx:
            ws = await nx.create("a")
            await ws.shell("echo precious > idea.txt; echo installed > /tmp/tool", check=True)
            for end in (engine.stop, engine.kill):
                await anyio.to_thread.run_sync(end)
                await _without_an_engine(nx)
                await anyio.to_thread.run_sync(engine.start)
                (entry,) = await nx.list()
                assert isinstance(entry, nexus.WorkspaceInfo)
                assert (entry.status, entry.missing) == (S.STOPPED, False)
                await nx.doctor(fix=True)
                assert [found for found in await nx.doctor() if found.level in {"warning", "error"}] == []
                await ws.start()
                assert (await ws.shell("cat idea.txt /tmp/tool")).stdout == "precious\ninstalled\n"
            await ws.destroy(force=True)
        assert await leftovers(bench) == []
    finally:
        await anyio.to_thread.run_sync(engine.remove)


async def _without_an_engine(nx: nexus.WorkspaceManager) -> None:
    """What is known is told as such, what cannot be done is refused with nothing changed."""
    (entry,) = await nx.list()
    assert isinstance(entry, nexus.WorkspaceInfo)
    assert entry.status is S.RUNNING
    assert "last known status" in str(entry.status_message)
    (told,) = [found for found in await nx.doctor(fix=True) if found.level in {"warning", "error"}]
    assert (told.check, told.level) == ("backend docker", "error")
    with pytest.raises(ProviderUnavailable):
        await nx.stop("a")
    assert (entry.worktree_path / "idea.txt").read_text() == "precious\n"


@pytest.mark.docker
async def test_a_network_that_an_engine_made_for_one_who_was_killed_is_removed(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    docker = make_bench("docker", repository, tmp_path, request)
    engine = RawEngine(str(docker.flags["backends.docker.socket"]))
    async with docker.open() as nx, nx.create("a") as ws:
        (network,) = engine.labelled(f"dev.nexus.workspace={ws.id}")["networks"]
        labels = engine.get(f"/networks/{network}")["Labels"]
        late = {**labels, "dev.nexus.workspace": str(new_workspace_id()), "dev.nexus.name": "late"}
        status, made = engine.call("POST", "/networks/create", body={"Name": f"nexus-late-{ws.id}", "Labels": late})
        assert status == 201
        assert [entry.name for entry in await nx.list()] == ["a"]
        assert [(action.kind, action.name) for action in await nx.gc()] == [("orphan", "late")]
        assert engine.call("GET", f"/networks/{made['Id']}")[0] == 404
        assert engine.call("GET", f"/networks/{network}")[0] == 200
    assert await leftovers(docker) == []


@pytest.mark.docker
async def test_what_a_killed_process_left_at_work_on_the_volumes_does_not_keep_a_workspace(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    docker = make_bench("docker", repository, tmp_path, request)
    docker.extra["volumes"] = ["data:/data"]
    engine = RawEngine(str(docker.flags["backends.docker.socket"]))
    async with docker.open() as nx:
        ws = await nx.create("a")
        (volume,) = engine.labelled(f"dev.nexus.workspace={ws.id}")["volumes"]
        body: dict[str, JsonValue] = {
            "Image": TEST_IMAGE,
            "Cmd": ["sleep", "60"],
            "Labels": {"dev.nexus.docker.copying": "0123", "dev.nexus.workspace": ""},
            "HostConfig": {"Binds": [f"{volume}:/from"], "NetworkMode": "none"},
        }
        number = engine.call("POST", "/containers/create", body=body)[1]["Id"]
        assert engine.call("POST", f"/containers/{number}/start")[0] == 204
        await ws.destroy(force=True)
        assert engine.call("GET", f"/containers/{number}/json")[0] == 404
        assert engine.call("GET", f"/volumes/{volume}")[0] == 404
    assert await leftovers(docker) == []
