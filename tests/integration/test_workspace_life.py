"""The main job, end to end, on every backend."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import (
    AlreadyExists,
    BranchInUse,
    InvalidName,
    StateConflict,
    UnsavedWork,
    WorkspaceNotFound,
    WorkspaceStopped,
    WrongLoop,
)
from nexus.models.events import StatusChanged, Switched, WorkspaceEvent
from nexus.models.requests import ListFilter
from nexus.models.workspace import WorkspaceStatus
from tests.workbench import Bench, git

S = WorkspaceStatus


async def test_a_created_workspace_runs_on_its_own_branch_and_tree(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("feature-auth")
        assert await ws.status() is S.RUNNING
        tree = ws.info.worktree_path
        assert tree == bench.repository / ".nexus" / "worktrees" / "feature-auth"
        assert git(tree, "branch", "--show-current").strip() == "nexus/feature-auth"
        assert git(tree, "status", "--porcelain") == ""
        assert git(bench.repository, "status", "--porcelain") == ""
        assert "locked nexus:" + ws.id in git(bench.repository, "worktree", "list", "--porcelain")


async def test_commands_run_inside_and_files_go_both_ways(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        done = await ws.exec("sh", "-c", "echo out; echo err >&2; exit 3")
        assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")
        assert (await ws.exec("cat", input="from stdin")).stdout == "from stdin"
        assert (await ws.shell("echo $NEXUS_WORKSPACE $NEXUS_WORKSPACE_BRANCH")).stdout == "a nexus/a\n"
        if bench.backend == "mock":
            return
        await ws.shell("echo made inside > made.txt; mkdir -p deep; echo x > deep/y", check=True)
        assert (ws.info.worktree_path / "made.txt").read_text() == "made inside\n"
        assert (ws.info.worktree_path / "made.txt").stat().st_uid == os.getuid()
        await ws.fs.write_text("outside.txt", "made outside\n")
        assert (await ws.exec("cat", "outside.txt")).stdout == "made outside\n"


async def test_stop_start_pause_resume_are_seen_by_another_manager(bench: Bench) -> None:
    async with bench.open() as nx, bench.open() as other:
        ws = await nx.create("a")
        same = await other.attach("a")
        assert same == ws
        await ws.pause()
        assert await same.status() is S.PAUSED
        with pytest.raises(WorkspaceStopped):
            await ws.exec("true")
        await same.resume()
        assert await ws.status() is S.RUNNING
        await ws.stop()
        assert await same.status() is S.STOPPED
        with pytest.raises(WorkspaceStopped):
            await same.exec("true")
        with pytest.raises(StateConflict):
            await ws.pause()
        await same.start()
        assert (await ws.exec("echo", "again")).stdout == "again\n"


async def test_every_verb_may_be_said_twice(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        for act, status in ((ws.start, S.RUNNING), (ws.pause, S.PAUSED), (ws.resume, S.RUNNING), (ws.stop, S.STOPPED)):
            for _ in range(2):
                assert (await act()).status is status


async def test_switch_pauses_one_and_wakes_the_other(bench: Bench) -> None:
    async with bench.open() as nx:
        one, two = await nx.create("one"), await nx.create("two")
        first = await nx.switch("one")
        assert (first.previous, first.current) == (None, "one")
        second = await nx.switch("two")
        assert (second.previous, second.current, second.previous_status) == ("one", "two", S.PAUSED)
        assert (await one.status(), await two.status()) == (S.PAUSED, S.RUNNING)
        assert await nx.current() == "two"
        await two.stop()
        await nx.switch("one")
        assert (await one.status(), await two.status()) == (S.RUNNING, S.STOPPED)
        assert (await nx.switch("one")).previous_status is None
        assert [
            entry.name for entry in await nx.list() if isinstance(entry, nexus.WorkspaceInfo) and entry.current
        ] == ["one"]


async def test_switching_to_nobody_changes_nothing(bench: Bench) -> None:
    async with bench.open() as nx:
        one = await nx.create("one")
        await nx.switch("one")
        with pytest.raises(WorkspaceNotFound):
            await nx.switch("two")
        assert await nx.current() == "one"
        assert await one.status() is S.RUNNING


async def test_destroy_refuses_while_work_would_be_lost_and_force_keeps_it(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("idea.txt", "precious\n")
        await ws.fs.write_text("README.md", "changed\n")
        with pytest.raises(UnsavedWork) as refused:
            await ws.destroy()
        assert any("idea.txt" in line for line in refused.value.lost)
        assert any("README.md" in line for line in refused.value.lost)
        assert await ws.status() is S.RUNNING
        gone = await ws.destroy(force=True)
        assert gone.rescued is not None
        assert git(bench.repository, "show", f"{gone.rescued}:idea.txt") == "precious\n"
        assert git(bench.repository, "show", f"{gone.rescued}:README.md") == "changed\n"
        assert not ws.info.worktree_path.exists()
        with pytest.raises(WorkspaceNotFound):
            await nx.get("a")


async def test_destroy_refuses_for_commits_that_exist_nowhere_else(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        (ws.info.worktree_path / "new.txt").write_text("new\n")
        git(ws.info.worktree_path, "add", "new.txt")
        git(ws.info.worktree_path, "commit", "-qm", "only here")
        with pytest.raises(UnsavedWork) as refused:
            await ws.destroy()
        assert any("only here" in line for line in refused.value.lost)
        git(bench.repository, "merge", "-q", "nexus/a")
        assert (await ws.destroy()).branch_deleted


async def test_a_block_that_owns_its_workspace_destroys_it_but_never_unsaved_work(bench: Bench) -> None:
    async with bench.open() as nx:
        async with nx.create("a") as ws:
            await ws.exec("true", check=True)
        assert await nx.list() == ()
        with pytest.raises(nexus.errors.CleanupError) as left:
            async with nx.create("b") as ws:
                await ws.fs.write_text("idea.txt", "precious\n")
        assert "b" in str(left.value)
        assert [entry.name for entry in await nx.list()] == ["b"]


async def test_a_branch_that_is_there_stays_whatever_becomes_of_the_creation(bench: Bench) -> None:
    git(bench.repository, "branch", "nexus/a")
    async with bench.open() as nx:
        with pytest.raises(BranchInUse):
            await nx.create("a")
        assert git(bench.repository, "branch", "--list", "nexus/a").strip() == "nexus/a"
        ws = await nx.create("a", adopt_branch=True)
        assert not (await ws.destroy()).branch_deleted
    assert git(bench.repository, "branch", "--list", "nexus/a").strip() == "nexus/a"
    git(bench.repository, "branch", "-D", "nexus/a")


async def test_a_name_is_taken_once(bench: Bench) -> None:
    async with bench.open() as nx:
        await nx.create("a")
        with pytest.raises(AlreadyExists):
            await nx.create("a")
        with pytest.raises(InvalidName):
            await nx.create("Feature/Auth")
        assert (await nx.ensure("a")).name == "a"


async def test_one_of_two_creators_of_a_name_wins(bench: Bench) -> None:
    outcomes: list[str] = []

    async def create(nx: nexus.WorkspaceManager) -> None:
        try:
            await nx.create("a")
            outcomes.append("made")
        except AlreadyExists:
            outcomes.append("taken")

    async with bench.open() as nx, bench.open() as other, anyio.create_task_group() as group:
        group.start_soon(create, nx)
        group.start_soon(create, other)
    assert sorted(outcomes) == ["made", "taken"]


@pytest.mark.slow
async def test_twenty_at_once(bench: Bench) -> None:
    async def create(nx: nexus.WorkspaceManager, name: str) -> None:
        await nx.create(name)

    async with bench.open(**{"ports.web.container": 3000}) as nx:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(create, nx, f"w{number}")
        entries = [entry for entry in await nx.list() if isinstance(entry, nexus.WorkspaceInfo)]
        assert len(entries) == 20
        assert {entry.status for entry in entries} == {S.RUNNING}
        assert len({entry.ports[0].host_port for entry in entries}) == 20


async def test_labels_and_filters(bench: Bench) -> None:
    async with bench.open() as nx:
        await nx.create("a", labels={"team": "red"})
        await nx.create("b", labels={"team": "blue"}, start=False)
        assert [e.name for e in await nx.list(ListFilter(labels={"team": "red"}))] == ["a"]
        assert [e.name for e in await nx.list(ListFilter(statuses=frozenset({S.STOPPED})))] == ["b"]
        assert (await nx.get((await nx.get("a")).id)).name == "a"


async def test_events_tell_the_story(bench: Bench) -> None:
    told: list[WorkspaceEvent] = []
    async with bench.open() as nx:
        nx.observe(told.append)
        ws = await nx.create("a")
        await ws.pause()
        await nx.switch("a")
        await ws.destroy()
    story = [(e.previous, e.status) for e in told if isinstance(e, StatusChanged)]
    assert story == [
        (S.PENDING, S.RUNNING),
        (S.RUNNING, S.PAUSED),
        (S.PAUSED, S.RUNNING),
        (S.RUNNING, S.DESTROYING),
        (S.DESTROYING, S.DESTROYED),
    ]
    assert [e.name for e in told if isinstance(e, Switched)] == ["a"]


async def test_a_manager_says_when_it_is_used_wrongly(bench: Bench) -> None:
    nx = bench.open()
    with pytest.raises(WrongLoop):
        await nx.list()
    async with nx:
        with pytest.raises(WrongLoop):
            await nx.__aenter__()

        async def elsewhere() -> None:
            with pytest.raises(WrongLoop):
                await nx.list()

        await anyio.to_thread.run_sync(anyio.run, elsewhere)


async def test_a_repository_below_or_inside_a_worktree_is_found(bench: Bench, tmp_path: Path) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        for start in (bench.repository / "src", ws.info.worktree_path, ws.info.worktree_path / "src"):
            again = nexus.open(start, flags=bench.flags, providers=bench.providers)
            async with again:
                assert [entry.name for entry in await again.list()] == ["a"]
