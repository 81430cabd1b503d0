"""SIGKILL on the way through a checkpoint, a restore in place, a deletion and a fork. Nothing is lost, nothing is left without an owner."""

from __future__ import annotations

from pathlib import Path

import pytest

import nexus
from nexus.models.workspace import Isolation, WorkspaceInfo
from tests.faults.killing import Nursery, Table
from tests.faults.test_killed_anywhere import Matrix, destroy_all
from tests.workbench import Bench, git, leftovers, make_bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    bench = make_bench(request.param, repository, tmp_path, request)
    if bench.backend == "docker":
        bench.extra["volumes"] = ["data:/data"]
    return bench


async def _forget_checkpoints(ws: nexus.Workspace) -> None:
    for mark in await ws.checkpoints.list():
        await ws.checkpoints.delete(mark)


async def _end(place: Bench) -> None:
    async with place.open() as nx:
        await destroy_all(nx)
        await nx.prune(older_than=0)
    assert await leftovers(place) == []
    assert git(place.repository, "for-each-ref", "refs/nexus") == ""


async def test_checkpoint(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "checkpoint")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await _forget_checkpoints(await matrix.work.make(nx))

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        matrix.work.require()
        assert infos[0].status == "running"
        ws = await nx.attach("victim")
        assert (await ws.exec("cat", "idea.txt")).stdout == matrix.work.idea
        marks = await ws.checkpoints.list()
        if marks:
            assert (await ws.checkpoints.diff("mark")).files == ()
        return "taken" if marks else "nothing left of it"

    await matrix.run(prepare, judge, most=3 if place.backend == "docker" else 9)
    await _end(place)


async def test_restore_of_a_checkpoint(place: Bench, nursery: Nursery, table: Table) -> None:
    await killed_at_a_restore(place, nursery, table, "worktree")


async def test_restore_of_a_checkpoint_of_a_private_clone(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, nursery: Nursery, table: Table
) -> None:
    await killed_at_a_restore(make_bench("local", repository, tmp_path, request), nursery, table, "clone")


async def killed_at_a_restore(place: Bench, nursery: Nursery, table: Table, isolation: Isolation) -> None:
    place.extra["isolation"] = isolation
    matrix = Matrix(place, nursery, table, "restore-checkpoint", title=f"restore-checkpoint {isolation}")
    then: list[str] = []

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        ws = await matrix.work.make(nx)
        await ws.start()
        await _forget_checkpoints(ws)
        tree = ws.info.worktree_path
        (tree / "later.txt").unlink(missing_ok=True)
        if place.backend == "docker":
            await ws.shell("echo then > /data/file; echo then > /tmp/file", check=True)
        await ws.checkpoints.create("mark")
        then[:] = [matrix.work.idea, matrix.work.draft]
        (tree / "later.txt").write_text(f"later than {matrix.work.idea}")
        (tree / "idea.txt").write_text(f"changed {matrix.work.idea}")
        git(tree, "commit", "-qam", f"later {matrix.work.idea}")
        if place.backend == "docker":
            await ws.shell("echo now > /data/file; echo now > /tmp/file", check=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        matrix.work.require()
        ws, tree = await nx.attach("victim"), infos[0].worktree_path
        assert infos[0].status == "running"
        restored = (tree / "idea.txt").read_text() == then[0]
        assert (tree / "later.txt").exists() is not restored
        said = git(tree, "status", "--porcelain")
        assert said == ("M  README.md\n?? idea.txt\n" if restored else "?? idea.txt\n?? later.txt\n")
        if place.backend == "docker":
            files = (await ws.shell("cat /data/file /tmp/file", check=True)).stdout
            assert files == ("then\nthen\n" if restored else "now\nnow\n")
        if restored:
            # What it was before is in a checkpoint, and comes back.
            undo = next(each for each in reversed(await ws.checkpoints.list()) if each.reason)
            await ws.checkpoints.restore(undo)
            assert (tree / "later.txt").read_text() == f"later than {matrix.work.idea}"
            assert git(tree, "log", "-1", "--format=%s").strip() == f"later {matrix.work.idea}".strip()
        return "carried on" if restored else "as before"

    await matrix.run(prepare, judge, most=3 if place.backend == "docker" else 9)
    await _end(place)


async def test_deletion_of_a_checkpoint(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "delete-checkpoint")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        ws = await matrix.work.make(nx, start=False)
        await _forget_checkpoints(ws)
        await ws.checkpoints.create("mark")

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        del infos
        marks = await (await nx.attach("victim")).checkpoints.list()
        return "as before" if marks else "gone"

    await matrix.run(prepare, judge, most=3 if place.backend == "docker" else 7)
    await _end(place)


async def test_fork(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "fork")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        for entry in await nx.list():
            if entry.name != "victim":
                await nx.destroy(entry.name, force=True)
        await nx.prune(older_than=0)
        ws = await matrix.work.make(nx)
        if place.backend == "docker":
            await ws.shell("echo x > /data/file", check=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        matrix.work.require()
        twins = [info for info in infos if info.name != "victim"]
        for info in infos:
            assert info.status == "running"
            assert (info.worktree_path / "idea.txt").read_text() == matrix.work.idea
            assert git(info.worktree_path, "status", "--porcelain") == "M  README.md\n?? idea.txt\n"
            if place.backend == "docker":
                ws = await nx.attach(info.name)
                assert (await ws.shell("cat /data/file", check=True)).stdout == "x\n"
        assert await (await nx.attach("victim")).checkpoints.list() == ()
        return f"{len(twins)} of 2 forks" if twins else "no forks"

    await matrix.run(prepare, judge, most=3 if place.backend == "docker" else 9)
    await _end(place)
