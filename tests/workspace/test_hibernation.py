"""A workspace that is stopped with its processes kept goes on where it was; where it cannot, it says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import ProviderError, Unsupported
from nexus.models.events import StatusChanged
from nexus.models.workspace import WorkspaceStatus
from nexus.providers.mock.script import RecordedCall
from nexus.testing import ManualClock
from nexus.workspace import settling
from nexus.workspace.hibernating import KEPT
from nexus.workspace.plan import Operation, StartStep
from tests.workbench import Bench, leftovers, make_bench

RUNNING, STOPPED = WorkspaceStatus.RUNNING, WorkspaceStatus.STOPPED


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


def starts(bench: Bench, ws: nexus.Workspace) -> int:
    """How often its main process was started: one that goes on says nothing."""
    assert bench.world is not None
    return b"".join(bench.world.machines[ws.id].log).count(b"started")


@asynccontextmanager
async def reasons(nx: nexus.WorkspaceManager) -> AsyncGenerator[list[str], None]:
    """Why workspaces changed their status, in their order."""
    seen: list[str] = []
    forget = nx.observe(lambda event: seen.append(event.reason) if isinstance(event, StatusChanged) else None)
    yield seen
    forget()


async def settled(nx: nexus.WorkspaceManager) -> None:
    assert await nx._open.journal.unfinished() == ()


async def test_it_goes_on_where_it_was(bench: Bench) -> None:
    async with bench.open() as nx, reasons(nx) as told:
        ws = await nx.create("a")
        await ws.stop(keep_processes=True)
        assert (ws.info.status, ws.info.status_message) == (STOPPED, KEPT)
        assert told[-1] == KEPT
        await ws.stop(keep_processes=True)
        await ws.start()
        assert (ws.info.status, ws.info.status_message, starts(bench, ws)) == (RUNNING, None, 1)
        assert told[-1] == "its processes go on"
        assert (await ws.exec("echo", "up")).stdout == "up\n"
        await ws.pause()
        await ws.stop(keep_processes=True)
        await ws.start()
        assert starts(bench, ws) == 1
        await settled(nx)


async def test_another_process_lets_it_go_on(bench: Bench) -> None:
    async with bench.open() as nx:
        await (await nx.create("a")).stop(keep_processes=True)
    async with bench.open() as nx:
        ws = await nx.attach("a")
        await ws.start()
        assert starts(bench, ws) == 1


async def test_stopping_it_again_ends_what_was_kept(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.stop(keep_processes=True)
        await ws.stop()
        assert ws.info.status_message is None
        await ws.start()
        assert starts(bench, ws) == 2


async def test_a_kept_one_is_destroyed_like_any_other(bench: Bench) -> None:
    async with bench.open() as nx:
        await (await nx.create("a")).stop(keep_processes=True)
        await nx.destroy("a")
    assert await leftovers(bench) == []


async def test_what_is_lost_meanwhile_is_started_anew_and_that_is_said(bench: Bench) -> None:
    assert bench.world is not None
    async with bench.open() as nx, reasons(nx) as told:
        ws = await nx.create("a")
        await ws.stop(keep_processes=True)
        bench.world.machines[ws.id].kept = False
        await ws.start()
        assert (ws.info.status, starts(bench, ws)) == (RUNNING, 2)
        assert "could not go on (they are not kept any more)" in (ws.info.status_message or "")
        assert told[-1] == ws.info.status_message
        await ws.stop()
        assert ws.info.status_message is None


async def test_a_restored_checkpoint_has_no_processes_of_what_was_before(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        mark = await ws.checkpoints.create()
        await ws.stop(keep_processes=True)
        restored = await ws.checkpoints.restore(mark)
        assert any("processes, which its stop had kept" in note for note in restored.notes)
        assert (await ws.checkpoints.restore(mark)).notes == ()
        await ws.start()
        assert (ws.info.status, ws.info.status_message) == (RUNNING, None)


async def test_a_backend_that_cannot_says_so_and_it_goes_on(
    bench: Bench, repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert bench.script is not None
    bench.script.fail("hibernate", error=lambda: Unsupported("processes cannot be kept: the disk is full"), times=1)
    async with bench.open() as nx:
        ws = await nx.create("a")
        with pytest.raises(Unsupported, match="the disk is full"):
            await ws.stop(keep_processes=True)
        assert await ws.status() is RUNNING
        await settled(nx)
    async with make_bench("local", repository, tmp_path, request).open() as nx, nx.create("b") as ws:
        with pytest.raises(Unsupported, match="the local backend cannot keep processes") as refused:
            await ws.stop(keep_processes=True)
        assert refused.value.details["capability"] == "hibernation"
        assert await ws.status() is RUNNING
        with pytest.raises(Unsupported):
            await ws.checkpoints.create(processes=True)


async def test_programs_that_know_secrets_are_written_to_no_disk(
    bench: Bench, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_MINE", "hunter2")
    async with bench.open(**{"env.TOKEN": "env:TOKEN_OF_MINE"}) as nx:
        ws = await nx.create("a")
        with pytest.raises(Unsupported, match="its programs are given TOKEN by reference") as refused:
            await ws.stop(keep_processes=True)
        assert "pause" in (refused.value.hint or "")
        assert await ws.status() is RUNNING
        assert bench.script is not None
        assert "hibernate" not in [call.name for call in bench.script.calls]


async def test_a_switch_keeps_them_where_it_is_told_to_take_checkpoints(bench: Bench) -> None:
    assert bench.script is not None
    async with bench.open(**{"defaults.switch": "checkpoint"}) as nx:
        one, two = await nx.create("one"), await nx.create("two")
        await nx.switch("one")
        outcome = await nx.switch("two")
        assert (outcome.previous_status, outcome.warnings) == (STOPPED, ())
        await nx.switch("one")
        assert (starts(bench, one), starts(bench, two)) == (1, 1)

        bench.script.fail("hibernate", error=lambda: Unsupported("processes cannot be kept: no room"), times=1)
        outcome = await nx.switch("two")
        assert (outcome.previous_status, outcome.warnings) == (
            STOPPED,
            ("one is stopped, and its processes ended: processes cannot be kept: no room",),
        )
        assert await two.status() is RUNNING
        await nx.switch("one")
        assert (starts(bench, one), starts(bench, two)) == (2, 1)


async def test_a_switch_whose_target_does_not_wake_lets_them_go_on(bench: Bench) -> None:
    assert bench.script is not None
    async with bench.open(**{"defaults.switch": "checkpoint"}) as nx:
        one = await nx.create("one")
        await nx.create("two", start=False)
        await nx.switch("one")
        bench.script.fail("start", error=lambda: ProviderError("it does not come up"), times=1)
        with pytest.raises(ProviderError):
            await nx.switch("two")
        assert (await one.status(), starts(bench, one)) == (RUNNING, 1)
        await settled(nx)


async def test_a_sleeper_that_gives_up_its_memory_keeps_them(bench: Bench) -> None:
    clock = ManualClock()
    async with nexus.open(bench.repository, flags=bench.flags, providers=bench.providers, clock=clock) as nx:
        ws = await nx.create("a")
        async with anyio.create_task_group() as group:
            group.start_soon(nx.watch_idle)
            await clock.at_rest(2)
            for _ in range(2):  # half an hour until it is paused, some hours until it is stopped
                clock.advance(5 * 3600.0)
                await clock.at_rest(2)
            group.cancel_scope.cancel()
        assert ((await ws.refresh()).status, ws.info.status_message) == (STOPPED, KEPT)
        assert (await ws.exec("echo", "up")).stdout == "up\n"
        assert starts(bench, ws) == 1


async def test_cancelled_while_they_are_written_they_are_kept(bench: Bench) -> None:
    assert bench.script is not None
    async with bench.open() as nx:
        ws = await nx.create("a")

        async def cancel(_: RecordedCall) -> None:
            if bench.script is not None and bench.script.made("hibernate") == 1:
                scope.cancel()
            await anyio.lowlevel.checkpoint()

        bench.script.before("hibernate", cancel)
        with anyio.CancelScope() as scope:
            await ws.stop(keep_processes=True)
        assert scope.cancelled_caught
        await settled(nx)
        assert ((await ws.refresh()).status, ws.info.status_message) == (STOPPED, KEPT)
        await ws.start()
        assert starts(bench, ws) == 1


@pytest.mark.parametrize("by_then", ["nothing", "kept"])
async def test_a_stop_that_a_crash_cut_short_is_carried_on(bench: Bench, by_then: str) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        record = await nx._open.records.load("a")
        await nx._open.journal.begin(
            operation=Operation.STOP,
            workspace=record.id,
            name="a",
            plan=(),
            facts={"grace": 1.0, "processes": "keep"},
            durable=False,
        )
        if by_then == "kept":
            await (await nx._open.backends.instance(record)).hibernate()  # type: ignore[attr-defined]
        await nx.doctor(fix=True)
        await settled(nx)
        assert ((await ws.refresh()).status, ws.info.status_message) == (STOPPED, KEPT)
        await ws.start()
        assert starts(bench, ws) == 1


@pytest.mark.parametrize("by_then", ["nothing", "going on"])
async def test_a_start_that_a_crash_cut_short_loses_nothing(bench: Bench, by_then: str) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.stop(keep_processes=True)
        record = await nx._open.records.load("a")
        journal = await nx._open.journal.begin(
            operation=Operation.START,
            workspace=record.id,
            name="a",
            plan=tuple(StartStep),
            facts={"again": False},
            durable=False,
        )
        await journal.doing(StartStep.UP)
        if by_then == "going on":
            await (await nx._open.backends.instance(record)).wake()  # type: ignore[attr-defined]
        await settling.settle_run(nx._open, journal.entry)
        await journal.close()
        assert ((await ws.refresh()).status, ws.info.status_message) == (STOPPED, KEPT)
        await ws.start()
        assert starts(bench, ws) == 1


async def test_the_one_that_a_cut_short_switch_left_goes_on(bench: Bench) -> None:
    async with bench.open(**{"defaults.switch": "checkpoint"}) as nx:
        one = await nx.create("one")
        two = await nx.create("two", start=False)
        await nx.switch("one")
        old, target = await nx._open.records.load("one"), await nx._open.records.load("two")
        journal = await nx._open.journal.begin(
            operation=Operation.SWITCH,
            workspace=target.id,
            name="two",
            plan=tuple(StartStep),
            facts={"with": ["one"], "wake": "start", "again": False, "sleep": "stop", "processes": "try"},
            durable=False,
        )
        await journal.doing(StartStep.UP)
        await (await nx._open.backends.instance(old)).hibernate()  # type: ignore[attr-defined]
        await nx.doctor(fix=True)
        await settled(nx)
        assert [await one.status(), await two.status()] == [RUNNING, STOPPED]
        assert starts(bench, one) == 1


async def test_scripts_of_a_pause_are_run_and_not_those_of_a_stop(bench: Bench) -> None:
    for name in ("hooks.on_sleep", "hooks.on_wake", "scripts.pre-stop", "scripts.post-start"):
        bench.extra[name] = f"echo {name.partition('.')[2]} >> said"
    async with bench.open() as nx:
        ws = await nx.create("a")
        await ws.stop(keep_processes=True)
        await ws.start()
        assert (await ws.fs.read_text("said")).split() == ["on_wake", "post-start", "on_sleep", "on_wake"]
