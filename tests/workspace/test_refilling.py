"""A registry that was deleted is filled again by whoever opens next: the same names, ports and node, and nobody's port is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from nexus.errors import QuotaExceeded, StateError
from nexus.models.events import PortChanged, WorkspaceEvent
from nexus.models.ids import WorkspaceId
from nexus.models.workspace import WorkspaceRecord
from nexus.state import Claim, Known, LeaseRow, NodeRegistry
from nexus.workspace.own_records import OwnRecords
from nexus.workspace.refilling import put_back_all, refill
from tests.workbench import Bench, git, make_bench


@pytest.fixture
def mock(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    bench = make_bench("mock", repository, tmp_path, request)
    bench.extra = {"ports.web.container": 3000, "ports.api.container": 4000}
    # Nothing runs on a mock's ports, but they are looked at: above those that containers of other tests may have by now.
    bench.extra |= {"defaults.port_range.start": 61000, "defaults.port_range.end": 65529}
    return bench


def lose(home: Path) -> None:
    shutil.rmtree(home / "data" / "nexus")


def other_repository(mock: Bench, tmp_path: Path) -> Bench:
    root = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(mock.repository), str(root))
    return Bench("mock", root, mock.flags, mock.providers, mock.script, mock.world, mock.extra)


async def everything(mock: Bench) -> tuple[str, tuple[Claim, ...], set[tuple[object, ...]]]:
    async with mock.open() as nx:
        context = nx._open
        return context.node, await context.registry.claims(), rows(await context.registry.leases())


def rows(leases: tuple[LeaseRow, ...]) -> set[tuple[object, ...]]:
    return {(row.port, row.protocol, row.owner, row.purpose, row.fixed, row.base) for row in leases}


async def test_names_ports_and_the_node_are_as_before(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        for name in ("a", "b"):
            await nx.create(name, start=False)
    before = await everything(mock)
    assert len(before[2]) == 4
    lose(home)
    assert await everything(mock) == before


async def test_limits_count_what_was_there(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        await nx.create("a", start=False)
    lose(home)
    async with mock.open() as nx:
        context = nx._open
        (claim,) = await context.registry.claims()
        another = claim.model_copy(update={"id": WorkspaceId("00000000-0000-4000-8000-000000000000"), "name": "z"})
        with pytest.raises(QuotaExceeded):
            await context.registry.claim(another, max_per_user=1)


async def test_a_registry_lost_while_it_is_open_is_filled_by_the_next_creation(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        await nx.create("a", start=False)
        node = nx._open.node
        lose(home)
        await nx.create("b", start=False)
        known = await nx._open.registry.known(nx.repository.root)
    assert known == Known(node, frozenset({"a", "b"}))


async def test_a_port_that_somebody_leased_meanwhile_stays_theirs_and_is_replaced_at_the_next_start(
    mock: Bench, home: Path, tmp_path: Path
) -> None:
    told: list[WorkspaceEvent] = []
    async with mock.open() as nx:
        ws = await nx.create("a", start=False)
        port = ws.ports["web"].host_port
    lose(home)
    other = other_repository(mock, tmp_path)
    async with other.open(**{"ports.web.host": port}) as nx:
        thief = await nx.create("thief")
        assert thief.ports["web"].host_port == port
        async with mock.open() as ours:
            ours.observe(told.append)
            assert [finding.level for finding in await ours.doctor() if finding.check == "registry"] == ["ok"]
            ws = await ours.attach("a")
            await ws.start()
            assert ws.ports["web"].host_port != port
            held = {row.owner: row.port for row in await ours.ports.leases() if row.purpose == "web"}
    assert held == {thief.id: port, ws.id: ws.ports["web"].host_port}
    (change,) = [event.change for event in told if isinstance(event, PortChanged)]
    assert (change.name, change.old) == ("web", port)


async def test_many_that_open_at_once_agree(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        for name in ("a", "b"):
            await nx.create(name, start=False)
    before = await everything(mock)
    lose(home)
    found = []

    async def look() -> None:
        found.append(await everything(mock))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(look)
    assert found == [before] * 8


async def test_what_was_destroyed_while_its_record_was_being_read_does_not_come_back(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        await nx.create("a", start=False)
        await nx.create("b", start=False)
    lose(home)
    async with mock.open() as nx:
        context = nx._open
        real = context.registry.restore
        await nx.destroy("b")

        async def restore_late(claims: list[Claim], leases: list[LeaseRow]) -> object:
            await nx.destroy("a")
            return await real(claims, leases)

        context.registry.restore = restore_late  # type: ignore[method-assign,assignment]
        await put_back_all(context)
        assert await context.registry.claims() == ()
        assert await context.registry.leases() == ()


async def test_nothing_is_read_when_nothing_is_missing(mock: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with mock.open() as nx:
        await nx.create("a", start=False)

    async def never(self: object) -> tuple[tuple[WorkspaceRecord, ...], tuple[object, ...]]:
        raise AssertionError("a record was read")

    async with mock.open() as nx:
        context = nx._open
        monkeypatch.setattr(OwnRecords, "all", never)
        monkeypatch.setattr(NodeRegistry, "restore", never)
        assert await refill(context) is None
        assert context.registry_problem is None


async def test_a_registry_that_cannot_be_used_costs_what_needs_it_and_nothing_else(mock: Bench, home: Path) -> None:
    async with mock.open() as nx:
        await nx.create("a")
    lose(home)
    (home / "data").joinpath("nexus").write_text("no folder\n")
    async with mock.open() as nx:
        assert [entry.name for entry in await nx.list()] == ["a"]
        ws = await nx.attach("a")
        assert (await ws.exec("true")).ok
        await ws.stop()
        (told,) = [finding for finding in await nx.doctor(fix=True) if finding.check == "registry"]
        assert told.level == "error"
        assert not told.fixed
        with pytest.raises(StateError):
            await nx.create("b")
    (home / "data" / "nexus").unlink()
    async with mock.open() as nx:
        await nx.create("b", start=False)
        assert {claim.name for claim in await nx._open.registry.claims()} == {"a", "b"}
