"""SIGKILL before any single change that an operation makes outside of its process. Whatever is left lists, converges and loses nothing.

On real processes every change is tried; where there are very many, those that follow a line of the journal and a fixed choice of the
others. On an engine it is a choice as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import nexus
from nexus.models.workspace import Isolation, WorkspaceInfo, WorkspaceStatus
from tests.faults.killing import Killed, Nursery, Table, choose, look_around, reachable
from tests.workbench import Bench, git, leftovers, make_bench

IDEA = "precious\n"
DRAFT = "# staged\n"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Prepare = Callable[[nexus.WorkspaceManager], Awaitable[None]]
Judge = Callable[[nexus.WorkspaceManager, list[WorkspaceInfo]], Awaitable[str]]


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


@pytest.fixture(params=["worktree", "clone"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    kind: Isolation = request.param
    return kind


class Matrix:
    """One operation on one backend, killed again and again."""

    def __init__(self, bench: Bench, nursery: Nursery, table: Table, operation: str, *, title: str = "") -> None:
        self.bench = bench
        self.nursery = nursery
        self.table = table
        self.operation = operation
        self.title = f"{title or operation}, {bench.backend}"

    async def run(self, prepare: Prepare, judge: Judge, *, most: int, **order: object) -> None:
        async with self.bench.open() as nx:
            await prepare(nx)
        whole = self.nursery.run(self.bench, self.operation, **order)
        assert whole.ended, whole.errors
        numbers = choose(whole, most, seed=len(self.title))
        killed = 0
        for number in numbers:
            async with self.bench.open() as nx:
                await prepare(nx)
            child = self.nursery.run(self.bench, self.operation, at=number, **order)
            assert child.killed or child.ended, child.errors
            killed += child.killed
            try:
                outcome = await self._judge(judge)
            except (AssertionError, nexus.NexusError) as error:
                error.add_note(f"{self.title}: killed before effect {number}, at {child.step}: {_context(child)}")
                raise
            self.table.add(self.title, child.step, outcome)
        assert killed >= len(numbers) * 3 // 4, "the children ended before they could be killed"

    async def _judge(self, judge: Judge) -> str:
        async with self.bench.open() as nx:
            infos = await look_around(self.bench, nx)
            return await judge(nx, infos)


def _context(child: Killed) -> str:
    return " | ".join(child.log[-6:])


async def destroy_all(nx: nexus.WorkspaceManager) -> None:
    for entry in await nx.list():
        await nx.destroy(entry.name, force=True)


async def a_victim(nx: nexus.WorkspaceManager, *, start: bool = True) -> nexus.Workspace:
    """A workspace with work in it that is nowhere else."""
    listed = {entry.name for entry in await nx.list()}
    ws = await nx.attach("victim") if "victim" in listed else await nx.create("victim", start=start)
    tree = ws.info.worktree_path
    (tree / "idea.txt").write_text(IDEA)
    (tree / "README.md").write_text(DRAFT)
    git(tree, "add", "README.md")
    return ws


def work_is_safe(bench: Bench) -> None:
    assert reachable(bench.repository, IDEA)
    assert reachable(bench.repository, DRAFT)


async def test_create(place: Bench, nursery: Nursery, table: Table, isolation: Isolation) -> None:
    place.extra["isolation"] = isolation
    matrix = Matrix(place, nursery, table, "create", title=f"create {isolation}")

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        if infos:
            ws = await nx.attach("victim")
            assert (await ws.exec("cat", "README.md")).stdout == "# app\n"
            assert git(ws.info.worktree_path, "status", "--porcelain") == ""
            await ws.destroy()
        return "finished" if infos else "undone"

    await matrix.run(destroy_all, judge, most=12 if place.backend == "docker" else 30)
    async with place.open() as nx:
        await destroy_all(nx)
    assert await leftovers(place) == []


@pytest.mark.parametrize("force", [False, True], ids=["plain", "force"])
async def test_destroy(place: Bench, nursery: Nursery, table: Table, isolation: Isolation, force: bool) -> None:
    place.extra["isolation"] = isolation
    matrix = Matrix(place, nursery, table, "destroy", title=f"destroy {'--force ' if force else ''}{isolation}")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await nx.prune(older_than=0)
        listed = await nx.list()
        if force:
            await a_victim(nx)
        elif not listed:
            await nx.create("victim")

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        if force:
            work_is_safe(place)
        if infos:
            return "as before"
        ws = await nx.restore("victim", start=False)
        if force:
            assert (ws.info.worktree_path / "idea.txt").read_text() == IDEA
        await ws.destroy(force=True)
        return "carried on"

    await matrix.run(prepare, judge, most=8 if place.backend == "docker" else 25, force=force)


async def test_restore(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "restore")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await nx.prune(older_than=0)
        await a_victim(nx, start=False)
        await nx.destroy("victim", force=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        work_is_safe(place)
        if infos:
            assert (infos[0].worktree_path / "idea.txt").read_text() == IDEA
            await nx.destroy("victim", force=True)
        return "finished" if infos else "undone"

    await matrix.run(prepare, judge, most=6 if place.backend == "docker" else 25)


async def test_prune(repository: Path, tmp_path: Path, request: pytest.FixtureRequest, nursery: Nursery, table: Table) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    matrix = Matrix(bench, nursery, table, "prune")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        if not await nx.rescues():
            await a_victim(nx, start=False)
            await nx.destroy("victim", force=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        left = await nx.rescues()
        for rescue in left:
            assert git(repository, "show", f"{rescue.ref}:idea.txt") == IDEA
        await nx.prune(older_than=0)
        assert await nx.rescues() == ()
        assert git(repository, "for-each-ref", "refs/nexus") == ""
        return "as before" if left else "removed"

    await matrix.run(prepare, judge, most=20)


@pytest.mark.parametrize(
    ("operation", "begins", "ends"),
    [
        ("start", "stopped", {"stopped", "running"}),
        ("stop", "running", {"running", "stopped"}),
        ("pause", "running", {"running", "paused"}),
        ("resume", "paused", {"paused", "running"}),
    ],
)
async def test_bringing_up_and_down(
    place: Bench, nursery: Nursery, table: Table, operation: str, begins: str, ends: set[str]
) -> None:
    matrix = Matrix(place, nursery, table, operation)

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        ws = await a_victim(nx)
        now = (await nx.get("victim")).status
        if now != begins:
            if now == "paused":
                await ws.start()
            await {"stopped": ws.stop, "running": ws.start, "paused": ws.pause}[begins]()

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        assert infos[0].status in ends
        work_is_safe(place)
        if infos[0].status == "running":
            assert (await (await nx.attach("victim")).exec("true")).exit_code == 0
        return str(infos[0].status)

    await matrix.run(prepare, judge, most=8 if place.backend == "docker" else 40)
    async with place.open() as nx:
        await destroy_all(nx)
    work_is_safe(place)
    assert await leftovers(place) == []


@pytest.mark.parametrize("target", ["paused", "stopped"])
async def test_switch(place: Bench, nursery: Nursery, table: Table, target: str) -> None:
    matrix = Matrix(place, nursery, table, "switch", title=f"switch to a {target} one")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        if not await nx.list():
            await nx.create("old")
            await nx.create("victim")
        await nx.switch("old")
        if target == "paused":
            await nx.start("victim")
            await nx.pause("victim")
        else:
            await nx.stop("victim", grace=1)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        seen = {entry.name: entry.status for entry in infos}
        current = await nx.current()
        if current == "victim":
            assert seen == {"victim": WorkspaceStatus.RUNNING, "old": WorkspaceStatus.PAUSED}
            return "completed"
        assert (current, seen["old"], seen["victim"]) == ("old", WorkspaceStatus.RUNNING, target)
        return "as before"

    await matrix.run(prepare, judge, most=8 if place.backend == "docker" else 40)
    async with place.open() as nx:
        await destroy_all(nx)
    assert await leftovers(place) == []
