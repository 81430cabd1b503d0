from __future__ import annotations

import asyncio
import gc
import sqlite3
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from nexus.errors import AlreadyExists, Busy, PortInUse, QuotaExceeded, RegistryDamaged, StateError
from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.workspace import ProcessState
from nexus.processes import identify
from nexus.state import Claim, Decision, LeaseRow, NodeRegistry, PortKey, database
from tests.programs import Spawn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node" / "workspaces.db"


@pytest.fixture
def registry(path: Path) -> NodeRegistry:
    return NodeRegistry(path)


def new_claim(name: str = "a", repository: str = "/r", user: str = "me") -> Claim:
    return Claim(id=new_workspace_id(), name=parse_name(name), repository=Path(repository), user=user, backend="local")


def take(*rows: LeaseRow) -> Decision:
    return lambda _table: rows


def row(port: int, owner: str = "w", **more: object) -> LeaseRow:
    return LeaseRow.model_validate({"port": port, "owner": owner, "purpose": "web", **more})


async def test_making_one_touches_nothing(path: Path, registry: NodeRegistry) -> None:
    assert registry.path == path
    assert not path.parent.exists()


async def test_the_file_is_private(path: Path, registry: NodeRegistry) -> None:
    await registry.node_id()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


async def test_a_shared_file_keeps_its_permissions(path: Path, registry: NodeRegistry) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o2770)
    path.touch()
    path.chmod(0o660)
    await registry.node_id()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o2770
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o660}


async def test_the_node_id_is_chosen_once(path: Path, registry: NodeRegistry) -> None:
    chosen: set[str] = set()

    async def ask(each: NodeRegistry) -> None:
        chosen.add(await each.node_id())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask, registry)
            group.start_soon(ask, NodeRegistry(path))
    assert len(chosen) == 1


async def test_a_name_is_taken_once_in_each_repository(registry: NodeRegistry) -> None:
    first = new_claim("a", "/r")
    await registry.claim(first, max_per_user=None, max_total=None)
    other = new_claim("a", "/other")
    await registry.claim(other)
    for again in (first, new_claim("a", "/r"), first.model_copy(update={"name": "b"})):
        with pytest.raises(AlreadyExists) as caught:
            await registry.claim(again)
        assert caught.value.details["id"] == first.id
    assert await registry.claims() == (other, first)
    assert await registry.claims(repository=Path("/r")) == (first,)
    await registry.unclaim(first.id)
    await registry.unclaim(first.id)
    await registry.claim(new_claim("a", "/r"))


async def test_limits_hold(registry: NodeRegistry) -> None:
    await registry.claim(new_claim("a", user="me"), max_per_user=1, max_total=2)
    with pytest.raises(QuotaExceeded, match="me has 1 workspaces, and no more than 1") as caught:
        await registry.claim(new_claim("b", user="me"), max_per_user=1, max_total=2)
    assert caught.value.details == {"setting": "max_workspaces_per_user", "limit": 1, "count": 1}
    await registry.claim(new_claim("b", user="you"), max_per_user=1, max_total=2)
    with pytest.raises(QuotaExceeded, match="this node has 2 workspaces"):
        await registry.claim(new_claim("c", user="them"), max_per_user=1, max_total=2)
    assert len(await registry.claims()) == 2


async def test_a_limit_is_not_overrun_by_claims_at_once(path: Path) -> None:
    results: list[str] = []

    async def attempt(number: int) -> None:
        try:
            await NodeRegistry(path).claim(new_claim(f"w{number}"), max_per_user=5)
        except QuotaExceeded:
            results.append("refused")
        else:
            results.append("made")

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(attempt, number)
    assert sorted(results) == ["made"] * 5 + ["refused"] * 15


async def test_a_decision_sees_what_is_leased_and_is_stored(registry: NodeRegistry) -> None:
    seen: list[Mapping[PortKey, str]] = []

    def remember(*rows: LeaseRow) -> Decision:
        def decide(table: Mapping[PortKey, str]) -> Sequence[LeaseRow]:
            seen.append(dict(table))
            return rows

        return decide

    rows = await registry.lease("w", remember(row(80, fixed=True), row(81, base=80), row(81, protocol="udp")))
    assert rows == await registry.leases("w") == await registry.leases()
    await registry.lease("v", remember(row(82, "v")))
    assert seen == [{}, {("tcp", 80): "w", ("tcp", 81): "w", ("udp", 81): "w"}]
    assert [each.port for each in await registry.leases()] == [80, 81, 81, 82]
    assert await registry.leases("nobody") == ()


async def test_a_port_has_one_owner_and_a_refused_decision_changes_nothing(registry: NodeRegistry) -> None:
    await registry.lease("w", take(row(80)))
    before = await registry.leases()
    with pytest.raises(PortInUse) as caught:
        await registry.lease("v", take(row(79, "v"), row(80, "v")))
    assert caught.value.details == {"port": 80, "holder": "w"}
    with pytest.raises(PortInUse):
        await registry.lease("v", take(row(90, "w")))
    with pytest.raises(ZeroDivisionError):
        await registry.lease("w", lambda _table: [row(1 // 0)], drop=[("tcp", 80)])
    assert await registry.leases() == before
    await registry.lease("w", take(row(80, purpose="api")))
    assert [each.purpose for each in await registry.leases()] == ["api"]


async def test_drop_releases_only_what_is_ones_own(registry: NodeRegistry) -> None:
    await registry.lease("v", take(row(79, "v")))
    await registry.lease("w", take(row(80)))
    await registry.lease("w", take(row(81)), drop=[("tcp", 80), ("tcp", 79), ("udp", 81)])
    assert [(each.port, each.owner) for each in await registry.leases()] == [(79, "v"), (81, "w")]


async def test_release(registry: NodeRegistry) -> None:
    await registry.lease("w", take(row(80), row(81), row(81, protocol="udp"), row(82)))
    await registry.lease("v", take(row(90, "v")))
    await registry.release("w", [81, 90])
    assert [each.port for each in await registry.leases()] == [80, 82, 90]
    await registry.release("w")
    await registry.release("w")
    assert [each.owner for each in await registry.leases()] == ["v"]


async def test_leases_end_with_their_process_and_not_before(registry: NodeRegistry) -> None:
    me = identify()
    assert me is not None
    recycled = ProcessState(pid=me.pid, start_time=me.start_time - 1, boot_id=me.boot_id)
    before_reboot = ProcessState(pid=me.pid, start_time=me.start_time, boot_id="another")
    rows = (
        row(80, "alive", process=me),
        row(81, "recycled", process=recycled),
        row(82, "rebooted", process=before_reboot),
        row(83, "workspace"),
    )
    await registry.restore([], rows)
    assert await registry.leases() == rows
    assert await registry.reclaim() == (rows[1], rows[2])
    assert await registry.reclaim() == ()
    assert await registry.leases() == (rows[0], rows[3])
    await registry.restore([], [rows[1]])
    await registry.lease("w", take(row(81)))
    assert (await registry.leases("w"))[0].port == 81


async def test_a_lost_registry_is_restored_from_records_and_conflicts_are_told(
    path: Path, registry: NodeRegistry
) -> None:
    claims = [new_claim("a"), new_claim("b")]
    rows = [row(80, claims[0].id), row(81, claims[1].id)]
    report = await registry.restore(claims, rows)
    assert (report.claims, report.leases, report.conflicts) == (2, 2, ())
    assert await registry.restore(claims, rows) == type(report)(claims=0, leases=0)
    intruder = new_claim("a")
    renamed = claims[1].model_copy(update={"name": "c"})
    report = await registry.restore([intruder, renamed], [row(80, intruder.id)])
    assert (report.claims, report.leases) == (0, 0)
    assert report.conflicts == (
        f"'a' of /r cannot be registered for {intruder.id}: {claims[0].id} has that name",
        f"'c' of /r cannot be registered for {renamed.id}: {renamed.id} has another name",
        f"port 80/tcp cannot be leased to {intruder.id}: {claims[0].id} has it",
    )
    assert await registry.claims() == tuple(claims)


@pytest.mark.parametrize("content", [b"this is no database, and it is longer than a header" * 100, b"short"])
async def test_garbage_is_an_error_with_the_next_step(path: Path, registry: NodeRegistry, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StateError, match=rf"registry {path} is damaged") as caught:
        await registry.claims()
    assert caught.value.hint is not None
    assert f"mv {path} {path}.damaged" in caught.value.hint
    assert path.read_bytes() == content
    path.rename(path.with_suffix(".damaged"))
    assert await registry.claims() == ()


async def test_a_damaged_file_is_moved_away_by_the_first_and_left_alone_by_the_rest(
    path: Path, registry: NodeRegistry
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(RegistryDamaged):
        await registry.check()
    others = [NodeRegistry(path) for _ in range(5)]
    moved = []

    async def move(each: NodeRegistry) -> None:
        moved.append(await each.move_away())

    async with anyio.create_task_group() as group:
        for each in others:
            group.start_soon(move, each)
    (away,) = [where for where in moved if where is not None]
    assert away.read_bytes() == b"this is no database" * 100
    claim = new_claim()
    await registry.claim(claim)
    assert await registry.move_away() is None
    assert await registry.claims() == (claim,)
    for each in others:
        await each.aclose()


async def test_a_node_that_lost_its_registry_keeps_its_id(path: Path, registry: NodeRegistry) -> None:
    assert (await registry.known(path)).node is None
    assert await registry.node_id(former=NodeId("before")) == "before"
    assert await registry.node_id(former=NodeId("other")) == "before"
    assert (await registry.known(path)).node == "before"


async def test_damage_in_the_middle_is_an_error(path: Path, registry: NodeRegistry) -> None:
    await registry.lease("w", take(*(row(port, purpose="x" * 500) for port in range(1000, 1200))))
    await registry.aclose()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xab" * (size - 4096))
    with pytest.raises(RegistryDamaged, match="is damaged"):
        await registry.leases()
    with pytest.raises(RegistryDamaged):
        await registry.check()


async def test_a_row_that_makes_no_sense_is_an_error(path: Path, registry: NodeRegistry) -> None:
    await registry.claim(new_claim())
    with sqlite3.connect(path) as db:
        db.execute("UPDATE claims SET name = 'Not A Name'")
    db.close()
    with pytest.raises(RegistryDamaged, match="holds a row that makes no sense"):
        await registry.claims()


async def test_a_newer_schema_is_left_alone(path: Path, registry: NodeRegistry) -> None:
    await registry.node_id()
    await registry.aclose()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StateError, match="has schema 99, newer than 1"):
        await registry.node_id()


async def test_a_folder_in_place_of_the_file(path: Path, registry: NodeRegistry) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be used"):
        await registry.node_id()


async def test_a_file_in_place_of_the_folder(path: Path, registry: NodeRegistry) -> None:
    path.parent.write_text("")
    with pytest.raises(StateError, match="cannot make the node's registry"):
        await registry.node_id()


@pytest.mark.parametrize("pattern", ["*", "workspaces.db"])
async def test_a_registry_deleted_while_open_is_made_again(path: Path, registry: NodeRegistry, pattern: str) -> None:
    await registry.lease("w", take(row(80)))
    for each in list(path.parent.glob(pattern)):
        each.unlink()
    other = NodeRegistry(path)
    await other.lease("v", take(row(80, "v")))
    # The first object still has the deleted file open; closing it must not touch the new one's log.
    assert [each.owner for each in await registry.leases()] == ["v"]
    await registry.lease("w", take(row(81)))
    assert [each.owner for each in await other.leases()] == ["v", "w"]
    await other.aclose()
    await registry.aclose()
    assert [each.owner for each in await NodeRegistry(path).leases()] == ["v", "w"]


async def test_a_registry_that_stays_locked_is_busy(
    path: Path, registry: NodeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.01)
    await registry.node_id()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match=r"was busy for 0\.01 s"):
        await registry.claims()
    other.execute("COMMIT")
    other.close()
    assert await registry.claims() == ()


async def test_a_path_without_utf8_form_is_refused(registry: NodeRegistry) -> None:
    claim = new_claim().model_copy(update={"repository": Path("/r\udcff")})
    with pytest.raises(StateError, match="UTF-8"):
        await registry.claim(claim)
    assert await registry.claims() == ()


async def test_a_cancelled_call_is_done_whole(registry: NodeRegistry) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def decide(_table: Mapping[PortKey, str]) -> Sequence[LeaseRow]:
        entered.set()
        assert go_on.wait(60)
        return [row(80), row(81)]

    task = asyncio.ensure_future(registry.lease("w", decide))
    await asyncio.to_thread(entered.wait, 60)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.port for each in await registry.leases()] == [80, 81]


async def test_dropping_the_object_closes_the_file(path: Path) -> None:
    def open_files() -> list[str]:
        return [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]

    registry = NodeRegistry(path)
    await registry.node_id()
    assert any(name.startswith(str(path)) for name in open_files())
    del registry
    # The worker thread may hold the finished call, and with it the object, for a moment longer than we do.
    with anyio.fail_after(60):
        while any(name.startswith(str(path)) for name in open_files()):
            await anyio.sleep(0.005)
            gc.collect()
    assert [each.name for each in path.parent.iterdir()] == ["workspaces.db"], "the log was written back"


FORK = """
import os, sys, anyio
from pathlib import Path
from nexus.state import LeaseRow, NodeRegistry
registry = NodeRegistry(Path(sys.argv[1]))
def lease(port):
    owner = f"owner-{port}"
    anyio.run(registry.lease, owner, lambda table: [LeaseRow(port=port, owner=owner, purpose="x")])
lease(1)
for port in range(2, 12):
    if os.fork() == 0:
        lease(port)
        os._exit(0)
for port in range(12, 20):
    lease(port)
for _ in range(10):
    assert os.wait()[1] == 0
print([row.port for row in anyio.run(registry.leases)])
"""


async def test_a_forked_child_opens_the_file_for_itself(path: Path, spawn: Spawn) -> None:
    output, _ = await to_thread.run_sync(spawn(FORK, str(path)).communicate)
    assert output.strip() == str(list(range(1, 20)))
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


CROWD = """
import os, sys, anyio
from pathlib import Path
from nexus.errors import AlreadyExists
from nexus.models.ids import new_workspace_id
from nexus.state import Claim, LeaseRow, NodeRegistry
async def main():
    registry = NodeRegistry(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    owner = new_workspace_id()
    def lowest(table):
        port = next(port for port in range(1, 65536) if ("tcp", port) not in table)
        return [LeaseRow(port=port, owner=owner, purpose="x")]
    won = True
    try:
        await registry.claim(Claim(id=owner, name="only-one", repository="/r", user="me", backend="local"))
    except AlreadyExists:
        won = False
    rows = [row.port for _ in range(4) for row in await registry.lease(owner, lowest)]
    print(await registry.node_id(), int(won), *rows)
anyio.run(main)
"""


@pytest.mark.slow
async def test_twenty_processes_at_once_agree(path: Path, spawn: Spawn) -> None:
    children = [spawn(CROWD, str(path)) for _ in range(20)]
    for child in children:
        assert child.stdout is not None
        assert await to_thread.run_sync(child.stdout.readline) == "ready\n"
    for child in children:  # none of them has touched the file yet: they race for making it as well
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [(await to_thread.run_sync(child.communicate))[0].split() for child in children]
    assert [child.returncode for child in children] == [0] * 20
    assert len({node for node, *_ in answers}) == 1
    assert sum(int(won) for _, won, *_ in answers) == 1
    assert sorted(int(port) for _, _, *ports in answers for port in ports) == list(range(1, 81))
    assert len(await NodeRegistry(path).leases()) == 80
