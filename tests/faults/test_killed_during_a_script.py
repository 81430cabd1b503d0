"""SIGKILL while a script runs: the script ends, nothing is half-made, and the next one who opens has it settled."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nexus
from nexus.models.workspace import WorkspaceStatus
from tests.workbench import Bench, leftovers, make_bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CHILD = """
import json, sys
import anyio
import nexus

what, repository, flags = sys.argv[1:]

async def main():
    async with nexus.open(repository, flags=json.loads(flags)) as nx:
        await (nx.create("victim") if what == "create" else nx.start("victim"))

anyio.run(main)
"""


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def victim(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


def kill_in(victim: Bench, what: str, hook: str) -> None:
    """Start it in a process of its own and kill that once the script has begun."""
    begun = victim.repository / ".nexus" / "worktrees" / "victim" / "begun"
    flags = {**victim.flags, f"scripts.{hook}": "sleep 100 & echo $! > pid; touch begun; wait"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, what, str(victim.repository), json.dumps(flags)], stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not begun.exists():
        assert child.poll() is None, child.stderr and child.stderr.read()
        assert time.monotonic() < until
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert child.stderr is not None
    child.stderr.close()
    begun.unlink()


@pytest.mark.parametrize("hook", ["pre-start", "post-start"])
async def test_a_creation_is_finished_by_the_next_one_who_opens(victim: Bench, hook: str) -> None:
    kill_in(victim, "create", hook)
    async with victim.open(**{f"scripts.{hook}": "echo again >> trace"}) as nx:
        assert await nx._open.journal.unfinished() == ()
        ws = await nx.attach("victim")
        assert (ws.info.status, ws.info.degraded) == (WorkspaceStatus.RUNNING, None)
        assert (ws.info.worktree_path / "trace").read_text() == "again\n"
        for name in ("trace", "pid"):
            (ws.info.worktree_path / name).unlink()
        await ws.destroy()
    assert await leftovers(victim) == []


async def test_a_start_leaves_a_workspace_that_can_be_started_again(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    victim = make_bench("local", repository, tmp_path, request)
    async with victim.open() as nx:
        await nx.create("victim", start=False)
    kill_in(victim, "start", "pre-start")
    async with victim.open(**{"scripts.pre-start": "exit 3"}) as nx:
        ws = await nx.attach("victim")
        # Whoever was starting it is gone, and so is what it had begun: no process of the script is left behind.
        await nx.stop("victim")
        with pytest.raises(nexus.NexusError, match="pre-start failed"):
            await ws.start()
    async with victim.open() as nx:
        ws = await nx.attach("victim")
        await ws.start()
        pid = ws.info.worktree_path / "pid"
        assert not (await ws.shell('kill -0 "$(cat pid)"')).ok
        pid.unlink()
        await ws.destroy()
    assert await leftovers(victim) == []
