"""The connection is cut at random points under load: nothing is lost, nothing is done twice."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.errors import ConnectionLost, DaemonUnavailable, NexusError
from nexus.models.execution import Exited, Gap, Output, SpawnRequest
from nexus.models.files import Edit
from nexus.wire.limits import Limits
from tests.client.cutting import behind_a_proxy, cut_now_and_then
from tests.daemon.talking import eventually
from tests.workbench import Bench, make_bench


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


@pytest.mark.slow
async def test_output_survives_cuts_without_a_byte_lost_or_doubled(bench: Bench) -> None:
    size, chance = 6_000_000, random.Random(7)
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        script = f"i=0; while [ $i -lt {size // 60} ]; do printf '%059d\\n' $i; i=$((i+1)); done"
        async with anyio.create_task_group() as group:
            process = await one.spawn("sh", "-c", script)
            group.start_soon(cut_now_and_then, proxy, chance, 8)
            seen, count = hashlib.sha256(), 0
            async for event in process:
                assert not isinstance(event, Gap)
                if isinstance(event, Output):
                    assert event.offset == count
                    count += len(event.data)
                    seen.update(event.data)
            group.cancel_scope.cancel()
        assert process.exit_code == 0
        assert count == size // 60 * 60
        assert seen.hexdigest() == hashlib.sha256(b"".join(b"%059d\n" % i for i in range(size // 60))).hexdigest()
        assert proxy.cuts >= 8


@pytest.mark.slow
async def test_input_survives_cuts_without_a_byte_lost_or_doubled(bench: Bench) -> None:
    data = random.Random(3).randbytes(5_000_000)
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        async with anyio.create_task_group() as group:
            group.start_soon(cut_now_and_then, proxy, random.Random(4), 6)
            done = await one.exec("cat", input=data)
            group.cancel_scope.cancel()
        assert done.exit_code == 0
        assert done.stdout_bytes == data
        assert proxy.cuts >= 6


@pytest.mark.slow
async def test_files_survive_cuts(bench: Bench) -> None:
    data = random.Random(5).randbytes(5_000_000)
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        await one.fs.write_bytes("big", data)
        async with anyio.create_task_group() as group:
            group.start_soon(cut_now_and_then, proxy, random.Random(6), 6)
            for _ in range(2):
                assert await one.fs.read_bytes("big") == data
            group.cancel_scope.cancel()
        assert proxy.cuts >= 5


@pytest.mark.slow
async def test_changes_are_made_once_whatever_is_cut(bench: Bench) -> None:
    """Each append-like change carries a key: asked again it is joined, not repeated."""
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        await one.fs.write_text("log", "<0>")

        async def cut_often() -> None:
            chance = random.Random(11)
            while True:
                goal = proxy.passed + chance.randrange(
                    4000, 9000
                )  # beyond the handshake, or nothing would ever come through
                while proxy.passed < goal:  # noqa: ASYNC110
                    await anyio.sleep(0.001)
                proxy.cut()

        async with anyio.create_task_group() as group:
            group.start_soon(cut_often)
            number = 0
            while proxy.cuts < 6:
                # Done twice it would fail: the old text would not be there any more.
                await one.fs.edit("log", [Edit(old=f"<{number}>", new=f"<{number + 1}>")])
                number += 1
            group.cancel_scope.cancel()
        assert await one.fs.read_text("log") == f"<{number}>"


async def test_a_creation_goes_on_while_the_connection_is_lost(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, _):
        steps: list[str] = []

        def progress(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
            if not steps:
                proxy.cut()
            steps.append(step)

        made = await client.create("one", progress=progress)
        assert steps
        assert [entry.id for entry in await client.list()] == [made.id]  # type: ignore[union-attr]


async def test_events_go_on_where_they_were(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        async with client.events() as events:
            await one.pause()
            proxy.cut()
            await one.resume()
            proxy.cut()
            await one.stop()
            seen: list[str] = []
            with anyio.fail_after(60):
                async for event in events:
                    if event.kind == "status_changed":
                        seen.append(str(event.status))
                    if seen[-1:] == ["stopped"]:
                        break
        assert seen == ["paused", "running", "stopped"]


async def test_a_command_ended_while_nobody_was_there(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        handle = await client.spawn(
            one.id, SpawnRequest(argv=("sh", "-c", "read line; echo $line; exit 9"), stdin=True)
        )
        await handle.receive()
        await handle.write(b"over\n")
        proxy.cut()
        events = []
        while True:
            try:
                events.append(await handle.receive())
            except anyio.EndOfStream:
                break
        assert [event.data for event in events if isinstance(event, Output)] == [b"over\n"]
        assert events[-1] == Exited(exit_code=9)


async def test_a_daemon_that_is_gone_for_good_is_told(bench: Bench) -> None:
    async with behind_a_proxy(bench, backoff=nexus.Backoff(first=0.01, longest=0.05, give_up_after=0.5)) as served:
        client, proxy, _ = served
        one = await client.create("one")
        process = await one.spawn("sleep", "600")
        await anext(aiter(process))
        proxy.refusing = True
        proxy.cut()
        with pytest.raises(ConnectionLost, match="sleep"):
            await anext(aiter(process))
        with pytest.raises(DaemonUnavailable):
            await client.get("one")
        with pytest.raises(DaemonUnavailable):
            await client.list()


async def test_calls_in_flight_are_answered_or_told_when_a_connection_breaks(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, _):
        one = await client.create("one")
        await one.fs.write_text("a", "x" * 1000)
        outcomes: list[str | NexusError] = []

        async def read() -> None:
            try:
                outcomes.append(await one.fs.read_text("a"))
            except NexusError as error:
                outcomes.append(error)

        async with anyio.create_task_group() as group:
            for _ in range(300):
                group.start_soon(read)
            await anyio.sleep(0.02)
            proxy.cut()
        assert outcomes == ["x" * 1000] * 300


async def test_a_session_ends_with_its_grace(bench: Bench) -> None:
    async with behind_a_proxy(bench, limits=Limits(session_grace_ms=50)) as (client, proxy, daemon):
        one = await client.create("one")
        process = await one.spawn("sleep", "600")
        await anext(aiter(process))
        proxy.freeze()
        proxy.cut()
        await eventually(lambda: not len(daemon._open.hub.execs))
        proxy.thaw()
        events = [event async for event in process]
        assert events == [Exited(exit_code=None, lost=True)]
