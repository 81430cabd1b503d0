"""Two at once on one name or one repository, and clocks that jump: one of them wins, the other is told, and nothing is half-made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import AlreadyExists, NexusError, WorkspaceNotFound
from nexus.models.requests import ListFilter
from tests.workbench import Bench, git, leftovers, make_bench

Act = Callable[[nexus.WorkspaceManager], Awaitable[object]]
OUTCOMES = (AlreadyExists, WorkspaceNotFound)
"""What the slower one may be told. Anything else, a damaged record or a missing file, would be half of something."""


@pytest.fixture
def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    bench = make_bench("local", repository, tmp_path, request)
    bench.extra = {"ports.web.container": 3000}
    return bench


async def create(nx: nexus.WorkspaceManager) -> object:
    return await nx.create("a")


async def create_other(nx: nexus.WorkspaceManager) -> object:
    return await nx.create("b")


async def destroy(nx: nexus.WorkspaceManager) -> object:
    return await nx.destroy("a")


async def switch(nx: nexus.WorkspaceManager) -> object:
    return await nx.switch("a")


async def fix(nx: nexus.WorkspaceManager) -> object:
    return await nx.doctor(fix=True)


async def race(place: Bench, *acts: Act) -> list[object]:
    """Each in a manager of its own, as other processes would; what each returned or raised."""
    ended: list[object] = [None] * len(acts)
    ready = anyio.Event()

    async def run(number: int, act: Act) -> None:
        async with place.open() as nx:
            await ready.wait()
            try:
                ended[number] = await act(nx)
            except NexusError as error:
                ended[number] = error

    async with anyio.create_task_group() as group:
        for number, act in enumerate(acts):
            group.start_soon(run, number, act)
        ready.set()
    return ended


PAIRS: dict[str, tuple[bool, tuple[Act, ...]]] = {
    "create-create": (False, (create, create)),
    "create-destroy": (False, (create, destroy)),
    "destroy-create": (True, (destroy, create)),
    "destroy-destroy": (True, (destroy, destroy)),
    "switch-destroy": (True, (switch, destroy)),
    "two-names": (False, (create, create_other)),
    "create-doctor": (False, (create, fix, create_other)),
    "destroy-doctor": (True, (destroy, fix)),
}


@pytest.mark.parametrize("pair", PAIRS)
async def test_two_at_once_end_as_one_after_the_other(place: Bench, pair: str) -> None:
    there, acts = PAIRS[pair]
    for _ in range(2):
        if there:
            async with place.open() as nx:
                await nx.create("a")
        ended = await race(place, *acts)
        for end in ended:
            assert not isinstance(end, NexusError) or isinstance(end, OUTCOMES), end
        if acts[0] is acts[1]:
            assert sum(isinstance(end, NexusError) for end in ended) == 1
        async with place.open() as nx:
            found = [finding.message for finding in await nx.doctor() if finding.level in {"warning", "error"}]
            assert found == []
            for entry in await nx.list():
                ws = await nx.attach(entry.name)
                await ws.start()
                assert (await ws.exec("cat", "README.md")).stdout == "# app\n"
                await ws.destroy()
        assert await leftovers(place) == []


async def test_git_of_the_user_at_work_meanwhile(place: Bench) -> None:
    """Prune, gc and stash by hand, between and during what we do; git may be told to wait, nobody loses anything."""
    root = place.repository
    (root / "README.md").write_text("# mine\n")
    git(root, "stash", "push", "-q")

    async def by_hand(nx: nexus.WorkspaceManager) -> None:
        for words in (["worktree", "prune", "--expire=now"], ["gc", "-q", "--prune=now"], ["stash", "list"]):
            await anyio.run_process(["git", *words], cwd=root, check=False)

    async with place.open() as nx:
        for name in ("a", "b", "c"):
            async with anyio.create_task_group() as group:
                group.start_soon(by_hand, nx)
                ws = await nx.create(name)
            (ws.info.worktree_path / "src" / "main.py").write_text("print('half done')\n")
            git(ws.info.worktree_path, "commit", "-qam", f"work in {name}")
        await by_hand(nx)
        for name in ("a", "b", "c"):
            async with anyio.create_task_group() as group:
                group.start_soon(by_hand, nx)
                await nx.destroy(name, force=True)
        await by_hand(nx)
        for name in ("a", "b", "c"):
            ws = await nx.restore(name, start=False)
            assert git(ws.info.worktree_path, "log", "-1", "--format=%s") == f"work in {name}\n"
            await ws.destroy(force=True)
    assert git(root, "show", "stash@{0}:README.md") == "# mine\n"
    assert await leftovers(place) == []


async def test_a_clock_that_was_set_back_loses_nothing(place: Bench) -> None:
    """Everything that we wrote is from the future then."""
    later = datetime.now(UTC) + timedelta(days=400)
    async with place.open() as nx:
        ws = await nx.create("a", ttl=60)
        await nx.create("gone")
        tree = (await nx.attach("gone")).info.worktree_path
        (tree / "idea.txt").write_text("precious\n")
        await nx.destroy("gone", force=True)
        store, destroyed = nx._open.store, nx._open.destroyed
        record = await store.load("a")
        times = ("created_at", "updated_at", "last_active", "expires_at")
        await store.save(record.model_copy(update=dict.fromkeys(times, later)))
        for entry in await destroyed.load_all():
            await destroyed.save(entry.model_copy(update={"destroyed_at": later}))
    async with place.open() as nx:
        assert [finding.message for finding in await nx.doctor() if finding.level in {"warning", "error"}] == []
        assert await nx.gc() == ()
        # "gone" was rescued a moment ago by the present clock, and its note is from the future: only the first may go.
        assert {(action.kind, action.action) for action in await nx.prune(older_than=3600)} == {
            ("rescue", "kept"),
            ("destroyed", "kept"),
        }
        ws = await nx.attach("a")
        await ws.stop()
        await ws.start()
        again = await nx.restore("gone", as_name="again")
        assert (await again.exec("cat", "idea.txt")).stdout == "precious\n"
        await again.destroy(force=True)
        await ws.destroy()
        assert {"gone", "again", "a"} <= {entry.name for entry in await nx.list(ListFilter(destroyed=True))}
    assert await leftovers(place) == []


async def test_a_clock_that_jumps_ahead_takes_no_unsaved_work(place: Bench) -> None:
    """What has an end comes to it early; what is unsaved stays, and the rest can be restored."""
    async with place.open() as nx:
        for name in ("clean", "dirty", "forever"):
            await nx.create(name, ttl=None if name == "forever" else 3600, start=False)
        await (await nx.attach("dirty")).fs.write_text("idea.txt", "precious\n")
        store = nx._open.store
        for name in ("clean", "dirty"):
            record = await store.load(name)
            past = {"expires_at": datetime.now(UTC) - timedelta(days=400)}
            await store.save(record.model_copy(update=past))
        assert {(action.name, action.action) for action in await nx.gc()} == {("clean", "removed"), ("dirty", "kept")}
        assert [entry.name for entry in await nx.list()] == ["dirty", "forever"]
        await nx.restore("clean", start=False)
        for name in ("clean", "dirty", "forever"):
            await nx.destroy(name, force=True)
    assert await leftovers(place) == []
