"""Operations that are cancelled, fail, or find a journal that cannot be settled: nothing half done, and nothing in the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.abc import Instance
from nexus.errors import ProviderError
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import recovery, running, settling
from nexus.workspace.bringup import bring_up
from nexus.workspace.plan import Operation, StartStep
from tests.workbench import Bench, leftovers, make_bench


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


class Never:
    """An act that has begun and does not end."""

    def __init__(self) -> None:
        self.begun = anyio.Event()

    async def __call__(self, *given: object) -> WorkspaceRecord:
        instance = given[2]
        assert isinstance(instance, Instance)
        await instance.start()
        self.begun.set()
        await anyio.sleep_forever()
        raise AssertionError


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> Iterator[Never]:
    never = Never()
    with monkeypatch.context() as patch:
        patch.setattr(running, "bring_up", never)
        yield never


async def statuses(nx: nexus.WorkspaceManager) -> dict[str, str]:
    assert await nx._open.journal.unfinished() == ()
    return {entry.name: str(entry.status) for entry in await nx.list()}  # type: ignore[union-attr]


async def cancelled(never: Never, act: object) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(act)  # type: ignore[arg-type]
        await never.begun.wait()
        group.cancel_scope.cancel()


async def test_a_cancelled_start_is_taken_down(bench: Bench, never: Never) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        await cancelled(never, ws.start)
        assert await statuses(nx) == {"a": "stopped"}
        assert "cut short" in ((await nx.get("a")).status_message or "")


async def test_a_cancelled_switch_leaves_both_as_they_were(bench: Bench, never: Never) -> None:
    async with bench.open() as nx:
        await nx.create("a", start=False)
        await nx.create("b", start=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running, "bring_up", bring_up)
            await nx.switch("a")
        await cancelled(never, lambda: nx.switch("b"))
        assert await nx.current() == "a"
        assert await statuses(nx) == {"a": "running", "b": "stopped"}


async def test_a_failed_start_leaves_no_journal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> WorkspaceRecord:
        raise ProviderError("it does not come up")

    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        with monkeypatch.context() as patch:
            patch.setattr(running, "bring_up", fail)
            with pytest.raises(ProviderError):
                await ws.start()
        assert await statuses(nx) == {"a": "error"}
        await ws.start()
        assert await statuses(nx) == {"a": "running"}


async def test_what_cannot_be_settled_stays_and_is_never_in_the_way_of_a_destroy(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ProviderError("the engine has a bad day")

    async with bench.open() as nx:
        await nx.create("a")
        await nx.create("b")
        for name in ("a", "b"):
            record = await nx._open.records.load(name)
            await nx._open.journal.begin(
                operation=Operation.PAUSE, workspace=record.id, name=name, plan=(), facts={}, durable=False
            )
        with monkeypatch.context() as patch:
            patch.setattr(settling, "settle_run", fail)
            await nx.destroy("a")
        await nx.stop("b")
        assert [entry.name for entry in await nx._open.journal.unfinished()] == ["a"]
        await nx.create("a")
        assert await statuses(nx) == {"a": "running", "b": "stopped"}
        await nx.destroy("a")
        await nx.destroy("b")
    assert await leftovers(bench) == []


@pytest.mark.parametrize(
    ("operation", "plan", "before", "after"),
    [
        (Operation.STOP, (), "running", "stopped"),
        (Operation.PAUSE, (), "running", "paused"),
        (Operation.RESUME, (), "paused", "running"),
        (Operation.START, (StartStep.UP,), "running", "stopped"),
        (Operation.START, (), "stopped", "stopped"),
    ],
)
async def test_a_journal_is_settled_before_the_next_operation(
    bench: Bench, operation: Operation, plan: tuple[str, ...], before: str, after: str
) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=before != "stopped")
        if before == "paused":
            await ws.pause()
        record = await nx._open.records.load("a")
        journal = await nx._open.journal.begin(
            operation=operation, workspace=record.id, name="a", plan=plan, facts={}, durable=False
        )
        for step in plan:
            await journal.doing(step)
        async with recovery.holding(nx._open, "a", purpose="looking"):
            assert await statuses(nx) == {"a": after}
        await settling.settle_run(nx._open, journal.entry)
        assert await statuses(nx) == {"a": after}, "twice is as good as once"
