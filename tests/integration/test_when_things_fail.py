"""Failure at every step leaves nothing; a lost record, registry or place is told honestly and put right."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.abc import Instance, ProgressCallback
from nexus.errors import (
    AlreadyExists,
    ImageNotFound,
    NexusError,
    PortInUse,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RecordDamaged,
    UnbornHead,
)
from nexus.models.events import PortChanged, Recovered, WorkspaceEvent
from nexus.models.workspace import DamagedRecord, WorkspaceRecord, WorkspaceStatus
from nexus.workspace import creation
from nexus.workspace.bringup import bring_up
from nexus.workspace.context import Context
from nexus.workspace.plan import CreateStep
from tests.workbench import Bench, git, leftovers, make_bench

S = WorkspaceStatus
CALLS = ["prepare", "create", "start"]


@pytest.fixture
def mock(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench("mock", repository, tmp_path, request)


@pytest.mark.parametrize("call", CALLS)
async def test_a_creation_that_fails_leaves_nothing(mock: Bench, call: str) -> None:
    assert mock.script is not None
    mock.script.fail(call, error=ProviderError("the engine had a bad day"))  # type: ignore[arg-type]
    async with mock.open() as nx:
        with pytest.raises(ProviderError, match="bad day"):
            await nx.create("a")
    assert await leftovers(mock) == []
    async with mock.open() as nx, nx.create("a") as ws:
        assert await ws.status() is S.RUNNING


@pytest.mark.parametrize("call", CALLS)
async def test_a_creation_that_is_cancelled_leaves_nothing(mock: Bench, call: str) -> None:
    assert mock.script is not None
    mock.script.delay(call, 3600)  # type: ignore[arg-type]
    async with mock.open() as nx:
        with anyio.move_on_after(0.3) as scope:
            await nx.create("a")
        assert scope.cancelled_caught
    mock.script.delay(call, 0)  # type: ignore[arg-type]
    assert await leftovers(mock) == []


async def test_what_cannot_be_undone_stays_in_the_journal_and_is_undone_later(mock: Bench) -> None:
    assert mock.script is not None
    mock.script.fail("start", error=ProviderError("no start"))
    mock.script.fail("destroy", error=ProviderUnavailable("gone for lunch"))
    async with mock.open() as nx:
        with pytest.raises(ProviderError, match="no start") as failed:
            await nx.create("a")
        assert any("doctor" in note for note in failed.value.__notes__)
        assert [entry.name for entry in await nx.list()] == ["a"]
        # The next call about this name settles it first.
        await nx.create("a")
        await nx.destroy("a")
    assert await leftovers(mock) == []


async def test_an_unborn_head_and_a_missing_start_point_are_said_before_anything_is_made(
    mock: Bench, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    async with nexus.open(empty, flags=mock.flags, providers=mock.providers) as nx:
        with pytest.raises(UnbornHead):
            await nx.create("a")
    async with mock.open() as nx:
        with pytest.raises(nexus.errors.RefNotFound):
            await nx.create("a", start_point="no-such-branch")
    assert await leftovers(mock) == []


async def test_limits_hold(mock: Bench, home: Path) -> None:
    node = home / "node.yaml"
    node.write_text("limits:\n  max_workspaces_per_user: 2\n")
    stack = nexus.ConfigStack.load(mock.repository, flags=mock.flags, node_file=node)
    async with nexus.open(mock.repository, config=stack, providers=mock.providers) as nx:
        await nx.create("a")
        await nx.create("b")
        with pytest.raises(QuotaExceeded):
            await nx.create("c")
        assert [entry.name for entry in await nx.list()] == ["a", "b"]
        for name in ("a", "b"):
            await nx.destroy(name)


async def test_switching_to_one_that_cannot_wake_leaves_the_old_one_as_it_was(mock: Bench) -> None:
    assert mock.script is not None
    async with mock.open() as nx:
        one = await nx.create("one")
        two = await nx.create("two", start=False)
        await nx.switch("one")
        mock.script.fail("start", error=ProviderError("will not wake"))
        with pytest.raises(ProviderError, match="will not wake"):
            await nx.switch("two")
        assert await one.status() is S.RUNNING
        assert await nx.current() == "one"
        await nx.switch("two")
        assert await two.status() is S.RUNNING


async def test_a_silent_backend_costs_the_live_status_not_the_list(mock: Bench) -> None:
    assert mock.script is not None
    async with mock.open() as nx:
        await nx.create("a")
        mock.script.fail("list", error=ProviderUnavailable("the engine does not answer"))
        (entry,) = await nx.list()
        assert isinstance(entry, nexus.WorkspaceInfo)
        assert entry.status is S.RUNNING
        assert "does not answer" in (entry.status_message or "")


async def test_a_place_removed_by_hand_is_missing_and_start_makes_it_again(mock: Bench) -> None:
    assert mock.world is not None
    async with mock.open() as nx:
        ws = await nx.create("a")
        await ws.fs.write_text("kept.txt", "still here\n")
        mock.world.remove(ws.id)
        info = await ws.refresh()
        assert (info.status, info.missing) == (S.STOPPED, True)
        await ws.start()
        assert (await ws.exec("cat", "kept.txt")).stdout == "still here\n"


DAMAGE = {
    "empty": b"",
    "null": b"null",
    "truncated": b'{"id": "x", "na',
    "another schema": b'{"schema_version": 99}',
    "not text": b"\xff\xfe\x00",
    "another repository's": None,
}


@pytest.mark.parametrize("how", DAMAGE)
async def test_a_damaged_record_is_listed_and_rebuilt(mock: Bench, how: str) -> None:
    async with mock.open() as nx:
        ws = await nx.create("a", labels={"team": "red"})
        await nx.create("b")
        await ws.fs.write_text("kept.txt", "still here\n")
    path = mock.repository / ".nexus" / "state" / "workspaces" / "a.json"
    damage = DAMAGE[how]
    if damage is None:
        record = json.loads(path.read_text())
        record["repository"]["root"] = "/etc"
        record["worktree_path"] = "/etc"
        damage = json.dumps(record).encode()
    path.write_bytes(damage)
    async with mock.open() as nx:
        entries = {entry.name: entry for entry in await nx.list()}
        assert isinstance(entries["a"], DamagedRecord)
        assert isinstance(entries["b"], nexus.WorkspaceInfo)
        with pytest.raises((RecordDamaged, AlreadyExists)):
            await nx.create("a")
        with pytest.raises(RecordDamaged):
            await nx.attach("a")
        findings = await nx.doctor(fix=True)
        assert any(finding.fixed and "'a'" in finding.message for finding in findings)
        again = await nx.attach("a")
        assert again.id == ws.id
        assert again.info.worktree_path == ws.info.worktree_path
        assert (await again.exec("cat", "kept.txt")).stdout == "still here\n"


async def test_a_lost_registry_and_a_deleted_state_folder_are_survived(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        await nx.create("a")
    shutil.rmtree(home / "data" / "nexus")
    async with mock.open() as nx:
        assert [entry.name for entry in await nx.list()] == ["a"]
        await nx.destroy("a")
        await nx.create("b")
    shutil.rmtree(mock.repository / ".nexus" / "state")
    async with mock.open() as nx:
        assert await nx.list() == ()
        # It has a place where it ran, so somebody may miss it: its record is written again, and it goes when asked to.
        await nx.doctor(fix=True)
        assert [entry.name for entry in await nx.list()] == ["b"]
        await nx.destroy("b")
    git(mock.repository, "branch", "-D", "nexus/b")  # nobody knows any more who made it
    assert await leftovers(mock) == []


async def test_gc_destroys_what_expired_but_never_unsaved_work(mock: Bench) -> None:
    async with mock.open() as nx:
        await nx.create("clean", ttl=timedelta(seconds=60))
        dirty = await nx.create("dirty", ttl=60)
        await nx.create("forever")
        await dirty.fs.write_text("idea.txt", "precious\n")
        assert await nx.gc() == ()
        store = nx._open.store
        past = datetime.now(UTC) - timedelta(seconds=1)
        for name in ("clean", "dirty"):
            await store.save((await store.load(name)).model_copy(update={"expires_at": past}))
        assert {(a.name, a.action) for a in await nx.gc(dry_run=True)} == {
            ("clean", "would-remove"),
            ("dirty", "would-remove"),
        }
        assert {(a.name, a.action) for a in await nx.gc()} == {("clean", "removed"), ("dirty", "kept")}
        assert [entry.name for entry in await nx.list()] == ["dirty", "forever"]


async def test_gc_removes_instances_and_trees_that_belong_to_nobody_unless_they_hold_work(mock: Bench) -> None:
    async with mock.open() as nx:
        for name in ("clean", "dirty"):
            await nx.create(name)
        await (await nx.attach("dirty")).fs.write_text("idea.txt", "precious\n")
    shutil.rmtree(mock.repository / ".nexus" / "state" / "workspaces")
    async with mock.open() as nx:
        actions = await nx.gc()
    kept = [action for action in actions if action.action == "kept"]
    assert [action.name for action in kept] == ["dirty"]
    assert "unsaved" in kept[0].reason
    assert (mock.repository / ".nexus" / "worktrees" / "dirty" / "idea.txt").exists()
    assert not (mock.repository / ".nexus" / "worktrees" / "clean").exists()


async def test_ports_stay_the_same_and_a_stolen_one_is_replaced_and_announced(bench: Bench) -> None:
    told: list[WorkspaceEvent] = []
    bench.extra = {"ports.web.container": 3000}
    async with bench.open() as nx:
        nx.observe(told.append)
        ws = await nx.create("a")
        first = ws.ports["web"]
        assert first.url == f"http://127.0.0.1:{first.host_port}"
        await ws.stop()
        await ws.start()
        assert ws.ports["web"] == first
        if bench.backend == "docker":
            # What was installed in the container itself, outside of the tree, has to survive the change.
            await ws.shell("echo installed > /tmp/tool", check=True)
        await ws.stop()
        with socket.create_server(("127.0.0.1", first.host_port)):
            await ws.start()
            assert ws.ports["web"].host_port != first.host_port
        changes = [event.change for event in told if isinstance(event, PortChanged)]
        assert [(change.old, change.new) for change in changes] == [(first.host_port, ws.ports["web"].host_port)]
        if bench.backend == "docker":
            assert (await ws.exec("cat", "/tmp/tool")).stdout == "installed\n"
        assert (await ws.exec("true")).ok
        await ws.destroy()
    assert await leftovers(bench) == []


async def test_a_port_that_is_taken_while_a_workspace_is_made_is_replaced(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench("local", repository, {"backend": "local", "ports": {"web": 8000}})
    taken: list[socket.socket] = []

    async def late(
        context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback
    ) -> WorkspaceRecord:
        if not taken:
            taken.append(socket.create_server(("127.0.0.1", record.ports["web"])))
        return await bring_up(context, record, instance, report)

    monkeypatch.setattr(creation, "bring_up", late)
    async with bench.open() as nx, nx.create("a", on_exit="destroy") as ws:
        assert ws.info.status is WorkspaceStatus.RUNNING
        assert ws.ports["web"].host_port != taken[0].getsockname()[1]
        assert (await nx._open.store.load("a")).ports["web"] == ws.ports["web"].host_port
    taken[0].close()


async def test_a_fixed_port_that_is_taken_names_its_holder(mock: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        mock.extra = {"ports.web.container": 3000, "ports.web.host": port}
        async with mock.open() as nx:
            with pytest.raises(PortInUse) as refused:
                await nx.create("a")
    assert str(port) in str(refused.value)
    assert await leftovers(mock) == []


async def test_recovery_is_announced(mock: Bench) -> None:
    assert mock.script is not None
    told: list[WorkspaceEvent] = []
    mock.script.fail("start", error=ProviderError("no start"))
    mock.script.fail("destroy", error=ProviderUnavailable("gone for lunch"))
    async with mock.open() as nx:
        nx.observe(told.append)
        with pytest.raises(NexusError):
            await nx.create("a")
        await nx.create("a")
    outcomes = [(event.name, event.outcome) for event in told if isinstance(event, Recovered)]
    assert outcomes == [("a", "undone")]


async def test_a_damaged_journal_is_no_obstacle(mock: Bench) -> None:
    journal = mock.repository / ".nexus" / "state" / "journal"
    async with mock.open() as nx:
        await nx.create("a")
    journal.mkdir(parents=True, exist_ok=True)
    (journal / "torn.jsonl").write_bytes(b'{"schema_version": 1, "id": "to')
    async with mock.open() as nx:
        assert [entry.name for entry in await nx.list()] == ["a"]
        await nx.destroy("a")
    assert await leftovers(mock) == []


async def test_a_missing_image_is_said_with_the_next_step(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    request.applymarker(pytest.mark.docker)
    docker = make_bench("docker", repository, tmp_path, request)
    async with docker.open(image="nexus-no-such-image:1") as nx:
        with pytest.raises(NexusError) as missing:
            await nx.create("a")
    assert isinstance(missing.value, ImageNotFound | nexus.errors.ImagePullFailed)
    assert missing.value.hint
    assert await leftovers(docker) == []


def test_every_step_of_a_creation_is_covered_by_the_kill_tests() -> None:
    assert {"claim", "record", "ports", "worktree", "image", "instance", "start"} == set(CreateStep)
