"""The one script that runs on this host: only once it is approved, on every backend, and never from a tree that others can write."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import HookFailed, NotTrusted
from tests.workbench import Bench, git, leftovers, make_bench

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["local", "mock", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


def write(repository: Path, script: str) -> None:
    (repository / ".nexus").mkdir(exist_ok=True)
    (repository / ".nexus" / "config.yaml").write_text(f"scripts: {{initialize: {json.dumps(script)}}}\n")


async def test_it_runs_here_once_it_is_approved(bench: Bench, repository: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    write(repository, f'echo "$PWD $NEXUS_HOOK $NEXUS_WORKSPACE" >>{trace}; sh helper.sh')
    (repository / "helper.sh").write_text(f"echo helped >>{trace}\n")
    git(repository, "add", "helper.sh")
    git(repository, "commit", "-qm", "helper")
    async with bench.open() as nx:
        with pytest.raises(NotTrusted, match="run something on this host that you have not approved: initialize"):
            await nx.create("a")
        assert await nx.list() == ()
        assert not trace.exists()
        (review,) = await nx.trust.review()
        await nx.trust.approve([review.item])
        ws = await nx.create("a")
        ran = [f"{repository} initialize a", "helped"]
        assert trace.read_text().splitlines() == ran
        # Whoever works inside can write the tree, and what is there is not what runs here.
        (ws.info.worktree_path / "helper.sh").write_text(f"echo planted >>{trace}\n")
        await ws.stop()
        await ws.start()
        assert trace.read_text().splitlines() == ran * 2
        await ws.stop()
        write(repository, f"echo other >>{trace}")
    async with bench.open() as nx:
        with pytest.raises(NotTrusted):
            await nx.start("a")
        assert trace.read_text().splitlines() == ran * 2
        write(repository, "exit 0")
    async with bench.open(**{"scripts.initialize": None}) as nx:
        await nx.destroy("a", force=True)
    assert await leftovers(bench) == []


async def test_a_failure_fails_the_start_and_nothing_of_it_goes_on(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    async with bench.open(**{"scripts.initialize": "sleep 1000 & echo $! >pid; echo told; exit 3"}) as nx:
        with pytest.raises(HookFailed, match="initialize failed with status 3") as failed:
            await nx.create("a")
        assert failed.value.tail == ("told",)
        left = int((repository / "pid").read_text())
        with anyio.fail_after(30):
            while Path(f"/proc/{left}/stat").exists() and ") Z" not in Path(f"/proc/{left}/stat").read_text():  # noqa: ASYNC110
                await anyio.sleep(0.02)
    late = {"scripts.initialize.run": "echo begun; sleep 1000", "scripts.initialize.timeout": "300ms"}
    async with bench.open(**late) as nx:
        with pytest.raises(HookFailed) as slow:
            await nx.start("a")
        assert slow.value.details["timed_out"] is True
    (repository / "pid").unlink()
    async with nexus.open(repository, flags=bench.flags) as nx:
        await nx.start("a")
        await nx.destroy("a")
    assert await leftovers(bench) == []
