"""SIGKILL before any single change that an operation makes outside of its process. Whatever is left lists, converges and loses nothing.

Which changes is a fixed choice: on real processes those that follow a line of the journal and some others, on an engine fewer. Every single
one is tried where ``KILL_EVERYWHERE`` is set.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.models.instances import LABEL_REPOSITORY
from nexus.models.workspace import Isolation, WorkspaceInfo, WorkspaceStatus
from nexus.workspace.records import reference
from tests.faults.killing import Killed, Nursery, Table, choose, look_around, reachable
from tests.workbench import Bench, git, leftovers, make_bench

EVERY = "KILL_EVERYWHERE"
"""Set, nothing is left out: the search takes minutes then."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 if EVERY in os.environ else 300)]

Prepare = Callable[[nexus.WorkspaceManager], Awaitable[None]]
Judge = Callable[[nexus.WorkspaceManager, list[WorkspaceInfo]], Awaitable[str]]


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


@pytest.fixture(params=["worktree", "clone"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    kind: Isolation = request.param
    return kind


class Work:
    """What somebody has done in a workspace and nowhere else; other content each time, so that no object of it is there yet."""

    def __init__(self, bench: Bench) -> None:
        self._repository = bench.repository
        self._number = 0

    @property
    def idea(self) -> str:
        return f"precious {self._number}\n"

    @property
    def draft(self) -> str:
        return f"# staged {self._number}\n"

    async def make(self, nx: nexus.WorkspaceManager, *, start: bool = True) -> nexus.Workspace:
        """Have a workspace with work in it."""
        self._number += 1
        listed = {entry.name for entry in await nx.list()}
        ws = await nx.attach("victim") if "victim" in listed else await nx.create("victim", start=start)
        tree = ws.info.worktree_path
        (tree / "idea.txt").write_text(self.idea)
        (tree / "README.md").write_text(self.draft)
        git(tree, "add", "README.md")
        return ws

    def require(self) -> None:
        """It is in the tree, or a ref leads to it."""
        assert reachable(self._repository, self.idea)
        assert reachable(self._repository, self.draft)


class Matrix:
    """One operation on one backend, killed again and again."""

    def __init__(self, bench: Bench, nursery: Nursery, table: Table, operation: str, *, title: str = "") -> None:
        self.work = Work(bench)
        self.bench = bench
        self.nursery = nursery
        self.table = table
        self.operation = operation
        self.title = f"{title or operation}, {bench.backend}"

    async def run(
        self, prepare: Prepare, judge: Judge, *, most: int, may_miss: bool = False, about: str = "", **order: object
    ) -> None:
        async with self.bench.open() as nx:
            await prepare(nx)
        whole = self.nursery.run(self.bench, self.operation, **order)
        assert whole.ended, whole.errors
        numbers = choose(whole, 10_000 if EVERY in os.environ else most, about=about, seed=len(self.title))
        killed = 0
        for number in numbers:
            async with self.bench.open() as nx:
                await prepare(nx)
            child = self.nursery.run(self.bench, self.operation, at=number, **order)
            assert child.killed or child.ended, child.errors
            killed += child.killed
            try:
                outcome = await self._judge(judge, may_miss=may_miss)
            except (AssertionError, nexus.NexusError) as error:
                error.add_note(f"{self.title}: killed before effect {number}, at {child.step}: {_context(child)}")
                raise
            self.table.add(self.title, child.step, outcome)
        # What a first run has written (objects, folders) a later one need not, so that some end before their turn.
        assert killed >= max(1, len(numbers) // 3), "the children ended before they could be killed"

    async def _judge(self, judge: Judge, *, may_miss: bool) -> str:
        async with self.bench.open() as nx:
            infos = await look_around(self.bench, nx, may_miss=may_miss)
            return await judge(nx, infos)


def _context(child: Killed) -> str:
    return " | ".join(child.log[-6:])


async def destroy_all(nx: nexus.WorkspaceManager) -> None:
    for entry in await nx.list():
        await nx.destroy(entry.name, force=True)


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

    await matrix.run(destroy_all, judge, most=3 if place.backend == "docker" else 7)
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
            await matrix.work.make(nx)
        elif not listed:
            await nx.create("victim")

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        if force:
            matrix.work.require()
        if infos:
            return "as before"
        ws = await nx.restore("victim", start=False)
        if force:
            assert (ws.info.worktree_path / "idea.txt").read_text() == matrix.work.idea
        await ws.destroy(force=True)
        return "carried on"

    await matrix.run(prepare, judge, most=3 if place.backend == "docker" else 8, force=force)


async def test_restore(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "restore")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await nx.prune(older_than=0)
        await matrix.work.make(nx, start=False)
        await nx.destroy("victim", force=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        matrix.work.require()
        if infos:
            assert (infos[0].worktree_path / "idea.txt").read_text() == matrix.work.idea
            await nx.destroy("victim", force=True)
        return "finished" if infos else "undone"

    await matrix.run(prepare, judge, most=3 if place.backend == "docker" else 8)


async def test_prune(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, nursery: Nursery, table: Table
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    matrix = Matrix(bench, nursery, table, "prune")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        if not await nx.rescues():
            await matrix.work.make(nx, start=False)
            await nx.destroy("victim", force=True)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        left = await nx.rescues()
        for rescue in left:
            assert git(repository, "show", f"{rescue.ref}:idea.txt") == matrix.work.idea
        await nx.prune(older_than=0)
        assert await nx.rescues() == ()
        assert git(repository, "for-each-ref", "refs/nexus") == ""
        return "as before" if left else "removed"

    await matrix.run(prepare, judge, most=8)


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
        ws = await matrix.work.make(nx)
        now = (await nx.get("victim")).status
        if now != begins:
            if now == "paused":
                await ws.start()
            await (ws.stop() if begins == "stopped" else ws.start() if begins == "running" else ws.pause())

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        assert infos[0].status in ends
        matrix.work.require()
        if infos[0].status == "running":
            assert (await (await nx.attach("victim")).exec("true")).exit_code == 0
        return str(infos[0].status)

    await matrix.run(prepare, judge, most=4 if place.backend == "docker" else 12)
    async with place.open() as nx:
        await destroy_all(nx)
    matrix.work.require()
    assert await leftovers(place) == []


async def test_start_of_one_whose_place_is_gone(place: Bench, nursery: Nursery, table: Table) -> None:
    matrix = Matrix(place, nursery, table, "start", title="start, place lost")

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await matrix.work.make(nx, start=False)
        record = await nx._open.records.load("victim")
        await (await nx._open.backends.provider(place.backend)).destroy(reference(record))

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        matrix.work.require()
        outcome = "place missing" if infos[0].missing else str(infos[0].status)
        await nx.start("victim")
        assert (await (await nx.attach("victim")).exec("cat", "idea.txt")).stdout == matrix.work.idea
        return outcome

    await matrix.run(prepare, judge, may_miss=True, most=3 if place.backend == "docker" else 7)
    async with place.open() as nx:
        await destroy_all(nx)
    assert await leftovers(place) == []


async def taking(thief: socket.socket, port: int) -> None:
    """Listen on it, once an outgoing connection is over that happened to get it from the system."""
    with anyio.fail_after(60):
        while True:
            try:
                thief.bind(("127.0.0.1", port))
            except OSError:
                await anyio.sleep(0.05)
            else:
                return thief.listen()


async def test_start_of_one_whose_port_was_taken(place: Bench, nursery: Nursery, table: Table) -> None:
    place.extra["ports.web.container"] = 3000
    matrix = Matrix(place, nursery, table, "start", title="start, port stolen")

    with ExitStack() as thieves:

        async def prepare(nx: nexus.WorkspaceManager) -> None:
            ws = await matrix.work.make(nx, start=False)
            if ws.info.status != "stopped":
                await ws.stop(grace=1)
            thief = thieves.enter_context(socket.socket())
            await taking(thief, (await nx.get("victim")).ports[0].host_port)

        async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
            matrix.work.require()
            info = await nx.start("victim")
            provider = await nx._open.backends.provider(place.backend)
            (seen,) = await provider.list({LABEL_REPOSITORY: str(place.repository)})
            assert seen.ports == info.ports
            assert {row.port for row in await nx._open.registry.leases()} == {info.ports[0].host_port}
            return str(infos[0].status)

        # On an engine the container is made again: tried between its requests.
        docker = place.backend == "docker"
        await matrix.run(prepare, judge, most=3 if docker else 7, about="engine" if docker else "")
    async with place.open() as nx:
        await destroy_all(nx)
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
        seen = {str(entry.name): entry.status for entry in infos}
        current = await nx.current()
        if current == "victim":
            assert seen == {"victim": WorkspaceStatus.RUNNING, "old": WorkspaceStatus.PAUSED}
            return "completed"
        assert (current, seen["old"], seen["victim"]) == ("old", WorkspaceStatus.RUNNING, target)
        return "as before"

    await matrix.run(prepare, judge, most=4 if place.backend == "docker" else 12)
    async with place.open() as nx:
        await destroy_all(nx)
    assert await leftovers(place) == []


async def test_sync_of_a_linked_worktree(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, nursery: Nursery, table: Table
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    matrix = Matrix(bench, nursery, table, "sync", title="sync worktree")
    origin = tmp_path / "origin.git"
    before = git(repository, "rev-parse", "HEAD").strip()
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(origin))
    git(repository, "remote", "add", "origin", str(origin))
    git(repository, "fetch", "-q")
    git(repository, "branch", "-q", "-u", "origin/main")
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(origin), str(other))
    (other / "run.sh").unlink()
    (other / "src" / "main.py").write_text("print('changed')\n")
    (other / "new").mkdir()
    (other / "new" / "file.txt").write_text("new\n" * 100)
    git(other, "add", "-A")
    git(other, "commit", "-qm", "second")
    git(other, "push", "-q")
    after = git(other, "rev-parse", "HEAD").strip()

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        if not await nx.list():
            await nx.create("victim", start=False)
        tree = (await nx.get("victim")).worktree_path
        git(tree, "reset", "-q", "--hard", before)
        git(repository, "update-ref", "refs/remotes/origin/main", before)
        (tree / "idea.txt").write_text(matrix.work.idea)
        (tree / "README.md").write_text(matrix.work.draft)

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        tree = infos[0].worktree_path
        head = git(tree, "rev-parse", "HEAD").strip()
        assert head in {before, after}
        # Exactly the user's own changes, and nothing that looks like one.
        assert git(tree, "status", "--porcelain") == " M README.md\n?? idea.txt\n"
        matrix.work.require()
        git(repository, "fetch", "-q")
        assert (await nx.sync("victim")).after == after
        assert git(tree, "status", "--porcelain") == " M README.md\n?? idea.txt\n"
        return "as before" if head == before else "carried on"

    await matrix.run(prepare, judge, most=14)


async def test_sync_of_a_private_clone(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest, nursery: Nursery, table: Table
) -> None:
    bench = make_bench("local", repository, tmp_path, request)
    bench.extra["isolation"] = "clone"
    matrix = Matrix(bench, nursery, table, "sync", title="sync clone")
    tips: list[str] = []

    async def prepare(nx: nexus.WorkspaceManager) -> None:
        await matrix.work.make(nx, start=False)
        tree = (await nx.get("victim")).worktree_path
        git(tree, "commit", "-qam", f"work {len(tips)}")
        tips.append(git(tree, "rev-parse", "HEAD").strip())

    async def judge(nx: nexus.WorkspaceManager, infos: list[WorkspaceInfo]) -> str:
        there = git(repository, "rev-parse", "refs/heads/nexus/victim").strip()
        assert git(infos[0].worktree_path, "rev-parse", "HEAD").strip() == tips[-1]
        matrix.work.require()
        await nx.sync("victim")
        assert git(repository, "rev-parse", "refs/heads/nexus/victim").strip() == tips[-1]
        git(repository, "fsck", "--connectivity-only")
        return "carried on" if there == tips[-1] else "as before"

    await matrix.run(prepare, judge, most=9)
