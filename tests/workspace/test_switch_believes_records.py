"""A switch asks nobody what two workspaces do whose records say it; what they really do, and what others do meanwhile, still counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import nexus
from nexus.abc import SupportsPause
from nexus.errors import StateError
from nexus.models.ids import WorkspaceName
from nexus.models.workspace import WorkspaceStatus
from nexus.state import FileStateStore, OpenJournal
from nexus.state.drafts import Draft
from nexus.testing.git import make_repository
from nexus.workspace import running
from tests.workbench import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Bench:
    make_repository(tmp_path / "app", {"a": "a\n"})
    return make_bench("mock", tmp_path / "app", tmp_path, request)


@pytest.fixture
async def nx(bench: Bench) -> AsyncGenerator[nexus.WorkspaceManager, None]:
    """Two workspaces: one came from ``b``, which is paused, to ``a``."""
    async with bench.open() as nx:
        for each in ("a", "b"):
            await nx.create(each)
        await nx.switch("b")
        await nx.switch("a")
        yield nx


@pytest.mark.parametrize(
    ("name", "act", "left"),
    [
        ("b", "stop", WorkspaceStatus.PAUSED),
        ("b", "resume", WorkspaceStatus.PAUSED),
        ("b", "nothing", WorkspaceStatus.PAUSED),
        ("a", "stop", WorkspaceStatus.STOPPED),
        ("a", "pause", WorkspaceStatus.PAUSED),
    ],
)
async def test_what_another_did_meanwhile_is_seen(
    nx: nexus.WorkspaceManager, name: str, act: str, left: WorkspaceStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, current = threading.Event(), FileStateStore.read_current

    def tells(store: FileStateStore) -> WorkspaceName | None:
        found = current(store)
        looked.set()
        return found

    monkeypatch.setattr(FileStateStore, "read_current", tells)
    context = nx._open
    async with anyio.create_task_group() as group, context.locks.workspace(name, "testing"):
        group.start_soon(nx.switch, "b")
        assert await anyio.to_thread.run_sync(looked.wait, 60)  # the switch has begun, and waits for the lock
        record = await context.records.load(name)
        match act:
            case "stop":
                await running.stop(context, record, grace=1.0)
            case "resume":
                await running.resume(context, record)
            case "pause":
                await running.pause(context, record)
            case _:
                pass
    assert (await nx.get("b")).status is WorkspaceStatus.RUNNING
    assert (await nx.get("a")).status is left
    assert await nx.current() == "b"


@pytest.mark.parametrize(
    ("name", "act", "left"),
    [
        ("b", "stop", WorkspaceStatus.PAUSED),
        ("b", "resume", WorkspaceStatus.PAUSED),
        ("b", "remove", WorkspaceStatus.PAUSED),
        ("a", "stop", WorkspaceStatus.STOPPED),
        ("a", "pause", WorkspaceStatus.PAUSED),
        ("a", "remove", WorkspaceStatus.STOPPED),
    ],
)
async def test_what_they_really_do_counts(
    nx: nexus.WorkspaceManager, name: str, act: str, left: WorkspaceStatus
) -> None:
    context = nx._open
    record = await context.records.load(name)
    instance = await context.backends.instance(record)
    assert isinstance(instance, SupportsPause)
    match act:
        case "stop":
            await instance.stop(grace=1.0)
        case "resume":
            await instance.resume()
        case "pause":
            await instance.pause()
        case _:
            await (await context.backends.provider("mock")).destroy(instance.ref)
    outcome = await nx.switch("b")
    assert outcome.warnings == ()
    assert (await nx.get("b")).status is WorkspaceStatus.RUNNING
    assert (await nx.get("a")).status is left
    assert await nx.current() == "b"
    assert await context.journal.unfinished() == ()


@pytest.mark.parametrize("step", ["write", "place"])
async def test_what_cannot_be_written_down_is_taken_back(
    nx: nexus.WorkspaceManager, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StateError("the disk is full")

    def full_now(_: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(Draft, step, full if step == "write" else full_now)
    with pytest.raises(StateError, match="the disk is full"):
        await nx.switch("b")
    assert (await nx.get("a")).status is WorkspaceStatus.RUNNING
    assert await nx.current() == "a"
    assert await nx._open.journal.unfinished() == ()
    monkeypatch.undo()
    await nx.switch("b")
    assert await nx.current() == "b"
    assert [path.name for path in nx._open.home.rglob("*.tmp")] == []


async def test_a_journal_that_cannot_be_removed_takes_nothing_back(
    nx: nexus.WorkspaceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(*_: object, **__: object) -> None:
        raise StateError("cannot delete the journal")

    monkeypatch.setattr("nexus.state.journal.delete_journal", stays)
    with pytest.raises(StateError, match="cannot delete the journal"):
        await nx.switch("b")
    monkeypatch.undo()
    assert await nx.current() == "b"
    assert (await nx.get("b")).status is WorkspaceStatus.RUNNING
    assert (await nx.get("a")).status is WorkspaceStatus.PAUSED
    await nx.switch("a")
    assert await nx._open.journal.unfinished() == ()


class Held:
    """A step that is taken, in its thread, and does not return before it may."""

    def __init__(self) -> None:
        self._taken, self._go_on = threading.Event(), threading.Event()

    def step(self, step: Callable[..., object]) -> Callable[..., None]:
        def take(*given: object) -> None:
            step(*given)
            self._taken.set()
            assert self._go_on.wait(60)

        return take

    async def cancel(self, act: Coroutine[object, object, object], *, natively: bool) -> None:
        """Begin, and cancel when the step has been taken."""
        scope = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await act

        task = asyncio.ensure_future(run())
        assert await anyio.to_thread.run_sync(self._taken.wait, 60)
        if natively:
            task.cancel()
        else:
            scope.cancel()
        await anyio.lowlevel.checkpoint()
        self._go_on.set()
        await asyncio.wait([task])


@pytest.mark.parametrize("natively", [False, True])
async def test_one_that_is_cancelled_while_it_takes_the_locks_has_begun_nothing(
    nx: nexus.WorkspaceManager, monkeypatch: pytest.MonkeyPatch, natively: bool
) -> None:
    await cancelled_in(nx, monkeypatch, OpenJournal, "write", natively=natively)
    await is_settled(nx, running="a", paused="b")


@pytest.mark.parametrize("natively", [False, True])
async def test_one_that_is_cancelled_when_it_is_written_down_is_done(
    nx: nexus.WorkspaceManager, monkeypatch: pytest.MonkeyPatch, natively: bool
) -> None:
    await cancelled_in(nx, monkeypatch, Draft, "place", natively=natively)
    await is_settled(nx, running="b", paused="a")


async def cancelled_in(
    nx: nexus.WorkspaceManager, monkeypatch: pytest.MonkeyPatch, owner: type, step: str, *, natively: bool
) -> None:
    """Cancel a switch to ``b`` while a thread takes one of its steps."""
    held = Held()
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, held.step(getattr(owner, step)))
        await held.cancel(nx.switch("b"), natively=natively)


async def is_settled(nx: nexus.WorkspaceManager, *, running: str, paused: str) -> None:
    """Look whether nothing is under way, and whether one can go on to the other."""
    assert await nx._open.journal.unfinished() == ()
    assert (await nx.get(running)).status is WorkspaceStatus.RUNNING
    assert (await nx.get(paused)).status is WorkspaceStatus.PAUSED
    assert await nx.current() == running
    await nx.switch(paused)
    assert await nx.current() == paused
