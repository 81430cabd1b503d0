"""What an engine's refusal to keep processes means, and that trying it leaves nothing behind. With CRIU: ``tests/integration``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nexus
from nexus.errors import Unsupported
from nexus.models.instances import LABEL_REPOSITORY
from nexus.providers.docker import DockerProvider, trial
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.process_keeping import refusal
from tests.engine.raw import RawEngine
from tests.workbench import make_bench

LOG = "/var/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/c8/criu-dump.log"
FAILED = "Cannot checkpoint container c: runc did not terminate successfully: exit status 1:"
SAID = {
    "not experimental": (404, "page not found", "the engine is not experimental", "--experimental"),
    "no program": (
        500,
        f'{FAILED} CRIU version check failed: exec: "criu": executable file not found in $PATH path= {LOG}: unknown',
        "there is no CRIU where the engine looks for programs",
        "install CRIU 4",
    ),
    "an open connection": (
        500,
        f"{FAILED} criu failed: type NOTIFY errno 0 path= {LOG}: unknown",
        f"CRIU could not: Cannot checkpoint container c: .* path= {LOG}",
        "open TCP connections",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_each_refusal_has_its_reason_and_a_next_step(case: str) -> None:
    status, text, reason, hint = SAID[case]
    refused = refusal(EngineRefused("keep the processes of a container", status=status, text=text))
    with pytest.raises(Unsupported, match=f"^processes cannot be kept: {reason}"):
        raise refused
    assert hint in (refused.hint or "")
    assert refused.details == {"capability": "hibernation", "provider": "docker"}


@pytest.mark.docker
async def test_whatever_engine_it_is_it_keeps_them_or_says_why_not(
    engine: str, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    raw = RawEngine(engine)
    experimental = raw.get("/info")["ExperimentalBuild"]
    async with make_bench("docker", repository, tmp_path, request).open() as nx, nx.create("a") as ws:
        with pytest.raises(Unsupported, match="while a restore makes a new one") as refused:
            await ws.checkpoints.create(processes=True)
        assert "--keep-processes" in (refused.value.hint or "")
        refusal_of = await refused_by(ws)
        if refusal_of is None:
            assert experimental
            await ws.start()
        else:
            reason = "there is no CRIU|CRIU could not|could not let them go on" if experimental else "not experimental"
            assert re.search(reason, refusal_of.message)
            assert refusal_of.hint
            # It was found out once, and the backend no longer says that it can.
            assert "hibernation" not in (await (await nx._open.backends.provider("docker")).probe()).capabilities
        assert (await ws.exec("echo", "up")).stdout == "up\n"
    assert raw.labelled(f"{LABEL_REPOSITORY}={repository}")["containers"] == []


async def refused_by(ws: nexus.Workspace) -> Unsupported | None:
    try:
        await ws.stop(keep_processes=True)
    except Unsupported as error:
        return error
    return None


@pytest.mark.docker
async def test_what_a_killed_trial_leaves_is_found(
    engine: str, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    raw = RawEngine(engine)
    async with make_bench("docker", repository, tmp_path, request).open() as nx, nx.create("a") as ws:
        record = await nx._open.records.load(ws.id)
        provider = await nx._open.backends.provider("docker")
        assert isinstance(provider, DockerProvider)
        left = await trial.make(provider._open().engine, record.container_id or "")
        mine = f"{LABEL_REPOSITORY}={repository}"
        assert left in raw.labelled(mine)["containers"]
        assert [entry.name for entry in await nx.list()] == ["a"]
        await nx.gc()
        assert left not in raw.labelled(mine)["containers"]
        assert (await ws.exec("echo", "up")).stdout == "up\n"
