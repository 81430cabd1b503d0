"""SIGKILL at every journal step of a real process; then look: it lists, it converges, nothing is half-made, nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from enum import StrEnum
from pathlib import Path

import pytest

import nexus
from nexus.models.requests import ListFilter
from nexus.models.workspace import WorkspaceInfo
from nexus.workspace.plan import CreateStep, DestroyStep, StartStep
from tests.faults.killing import Nursery
from tests.workbench import Bench, git, leftovers, make_bench

MOMENTS = ("begun", "acted", "written")


def at_every_step(steps: type[StrEnum]) -> pytest.MarkDecorator:
    """Kill at each moment of each step; on an engine, where that takes its time, when it was done and not yet written down."""
    cases = [pytest.param("local", step, moment, id=f"local-{step}-{moment}") for step in steps for moment in MOMENTS]
    cases += [
        pytest.param("docker", step, "acted", id=f"docker-{step}-acted", marks=pytest.mark.docker) for step in steps
    ]
    return pytest.mark.parametrize(("victim", "step", "moment"), cases, indirect=["victim"])


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def victim(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    """A real backend; the mock lives in one process and cannot survive a kill."""
    return make_bench(request.param, repository, tmp_path, request)


@pytest.mark.slow
@at_every_step(CreateStep)
async def test_a_creation_killed_at_any_step_is_finished_or_undone(
    victim: Bench, nursery: Nursery, step: CreateStep, moment: str
) -> None:
    nursery.kill_at(victim, "create", step, moment)
    async with victim.open() as nx:
        listed = [entry.name for entry in await nx.list()]
        if listed:
            # Finished: it is whole, and can be used and destroyed like any other.
            assert listed == ["victim"]
            ws = await nx.attach("victim")
            assert (await ws.exec("echo", "alive")).stdout == "alive\n"
            await ws.destroy()
    assert await leftovers(victim) == []


@pytest.mark.slow
@at_every_step(DestroyStep)
async def test_a_destruction_killed_at_any_step_loses_no_work_and_is_carried_on(
    victim: Bench, nursery: Nursery, step: DestroyStep, moment: str
) -> None:
    async with victim.open() as nx:
        ws = await nx.create("victim")
        await ws.fs.write_text("idea.txt", "precious\n")
    nursery.kill_at(victim, "destroy", step, moment, force=True)
    async with victim.open() as nx:
        assert await nx.list() == ()
    refs = subprocess.run(
        ["git", "for-each-ref", "--format=%(refname)", "refs/nexus/rescue/"],
        cwd=victim.repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    kept = {
        subprocess.run(["git", "show", f"{ref}:idea.txt"], cwd=victim.repository, capture_output=True, text=True).stdout
        for ref in refs
    }
    assert kept == {"precious\n"}
    assert await leftovers(victim) == []


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", list(CreateStep))
async def test_a_restore_killed_at_any_step_is_finished_or_undone_and_may_be_tried_again(
    tmp_path: Path,
    repository: Path,
    request: pytest.FixtureRequest,
    nursery: Nursery,
    step: CreateStep,
    moment: str,
) -> None:
    victim = make_bench("local", repository, tmp_path, request)
    async with victim.open() as nx:
        ws = await nx.create("victim", start=False)
        tree = ws.info.worktree_path
        (tree / "idea.txt").write_text("precious\n")
        (tree / "README.md").write_text("staged\n")
        git(tree, "add", "README.md")
        before = git(tree, "status", "--porcelain=v2", "--branch")
        await ws.destroy(force=True)
    nursery.kill_at(victim, "restore", step, moment)
    async with victim.open() as nx:
        ws = await nx.attach("victim") if await nx.list() else await nx.restore("victim")
        assert git(tree, "status", "--porcelain=v2", "--branch") == before
        assert (tree / "idea.txt").read_text() == "precious\n"
        await ws.destroy(force=True)
    assert await leftovers(victim) == []


PRUNER = textwrap.dedent(
    """
    import json, os, signal, sys
    import anyio
    import nexus
    from nexus.git import Worktrees
    from nexus.state import DestroyedStore

    moment, repository, flags = sys.argv[1:]

    def die_after(cls, name, when):
        real = getattr(cls, name)

        async def call(self, *args, **kept):
            if moment == f"before-{when}":
                os.kill(os.getpid(), signal.SIGKILL)
            result = await real(self, *args, **kept)
            if moment == f"after-{when}":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(cls, name, call)

    die_after(Worktrees, "drop", "ref")
    die_after(DestroyedStore, "delete", "note")

    async def main():
        async with nexus.open(repository, flags=json.loads(flags)) as nx:
            await nx.prune(older_than=0)

    anyio.run(main)
    """
)


@pytest.mark.parametrize("moment", ["before-ref", "after-ref", "before-note", "after-note"])
async def test_a_prune_killed_between_any_two_effects_is_taken_up_by_the_next(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, moment: str
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    async with bench.open() as nx:
        for name in ("one", "two"):
            ws = await nx.create(name, start=False)
            (ws.info.worktree_path / "idea.txt").write_text("precious\n")
            await ws.destroy(force=True)
    child = subprocess.run(
        [sys.executable, "-c", PRUNER, moment, str(repository), json.dumps(bench.flags)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    async with bench.open() as nx:
        assert await nx.list() == ()
        for entry in await nx.list(ListFilter(destroyed=True)):
            assert entry.name in {"one", "two"}
        for rescue in await nx.rescues():
            assert git(repository, "show", f"{rescue.ref}:idea.txt") == "precious\n"
        await nx.prune(older_than=0)
        assert (await nx.rescues(), await nx.list(ListFilter(destroyed=True))) == ((), ())
    assert git(repository, "for-each-ref", "refs/nexus") == ""
    assert await leftovers(bench) == []


async def test_the_same_name_can_be_created_again_after_a_kill(victim: Bench, nursery: Nursery) -> None:
    nursery.kill_at(victim, "create", CreateStep.INSTANCE, "begun")
    async with victim.open() as nx, nx.create("victim") as ws:
        assert isinstance(ws, nexus.Workspace)
    assert await leftovers(victim) == []


@pytest.mark.parametrize("verb", ["stop", "destroy", "switch"])
async def test_a_manager_that_was_open_meanwhile_settles_a_switch_before_it_goes_on(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, nursery: Nursery, verb: str
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    async with bench.open() as nx:
        for name in ("old", "third", "victim"):
            await nx.create(name, start=name == "old")
        await nx.switch("old")
        nursery.kill_at(bench, "switch", StartStep.UP, "written")
        # The other one of the two: both locks are needed to settle it.
        if verb == "switch":
            await nx.switch("third")
        else:
            await (nx.stop("old") if verb == "stop" else nx.destroy("old"))
        assert await nx.current() == ("third" if verb == "switch" else "victim")
        statuses = {entry.name: str(entry.status) for entry in await nx.list() if isinstance(entry, WorkspaceInfo)}
        assert (
            statuses
            == {
                "stop": {"old": "stopped", "third": "stopped", "victim": "running"},
                "destroy": {"third": "stopped", "victim": "running"},
                "switch": {"old": "paused", "third": "running", "victim": "paused"},
            }[verb]
        )
        assert await nx._open.journal.unfinished() == ()
        for entry in await nx.list():
            await nx.destroy(entry.name)
    assert await leftovers(bench) == []
