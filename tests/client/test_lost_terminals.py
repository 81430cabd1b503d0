"""Terminals behind a connection that is cut: the same bytes at the same offsets, and who typed goes on typing."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import nexus
from nexus.abc.terminals import TerminalAccess, TerminalSession
from nexus.client.looking import RemoteTerminalSession
from nexus.daemon import greeting
from nexus.daemon.daemon import Daemon
from nexus.daemon.typists import Typist
from nexus.errors import ConnectionLost, NotController
from nexus.models.ids import TerminalId
from nexus.models.terminals import (
    AttachRequest,
    TerminalChanged,
    TerminalEvent,
    TerminalExited,
    TerminalGap,
    TerminalOutput,
    TerminalRequest,
    TerminalResized,
)
from tests.client.cutting import Proxy, behind_a_proxy, cut_now_and_then
from tests.daemon.talking import eventually, talking
from tests.workbench import Bench, make_bench


@pytest.fixture
def bench(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


async def opened(
    client: nexus.NexusClient, script: str, scrollback: int = 1 << 20
) -> tuple[TerminalAccess, TerminalId, TerminalSession]:
    """Open a terminal in a new workspace, and look at it as its controller."""
    terminals = client.terminals((await client.create("one")).info)
    info = await terminals.open(TerminalRequest(argv=("sh", "-c", script), scrollback=scrollback))
    return terminals, info.id, await terminals.attach(info.id, AttachRequest(replay="all", client="me"))


async def stalled(client: nexus.NexusClient, script: str) -> tuple[nexus.Workspace, TerminalSession]:
    """Open a terminal whose program says ``go`` and then reads no keys until somebody writes a line to ``pipe``."""
    ws = await client.create("one")
    await ws.exec("mkfifo", "pipe")
    terminals = client.terminals(ws.info)
    info = await terminals.open(TerminalRequest(argv=("sh", "-c", script)))
    session = await terminals.attach(info.id, AttachRequest(replay="all"))
    await until(session, b"go")
    return ws, session


async def until(session: TerminalSession, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        event = await session.receive()
        assert not isinstance(event, TerminalExited), seen
        if isinstance(event, TerminalOutput):
            seen += event.data
    return seen


async def reconnected(client: nexus.NexusClient, proxy: Proxy) -> None:
    """Cut, and return when there is another connection."""
    before = client._line.reconnected
    proxy.cut()
    await eventually(lambda: client._line.reconnected > before and client._line.current is not None)


async def kept_away(proxy: Proxy, daemon: Daemon) -> None:
    """Cut, let nobody connect again, and return when the daemon knows of no look any more."""
    proxy.refusing = True
    proxy.cut()
    await eventually(lambda: not looks(daemon))


def looks(daemon: Daemon) -> int:
    return sum(len(connection.looks) for connection in daemon._open.connections)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_output_survives_cuts_at_the_same_offsets(bench: Bench, seed: int) -> None:
    lines = 40_000
    script = f"stty raw -echo; printf go; read go; i=0; while [ $i -lt {lines} ]; do printf '%059d\\n' $i; i=$((i+1)); done; read done"
    async with behind_a_proxy(bench) as (client, proxy, _):
        _, _, session = await opened(client, script, scrollback=8 << 20)
        count, seen = len(await until(session, b"go")), bytearray()
        await session.write(b"\n")
        async with anyio.create_task_group() as group:
            group.start_soon(cut_now_and_then, proxy, random.Random(seed), 8)
            while len(seen) < lines * 60:
                event = await session.receive()
                assert not isinstance(event, TerminalGap | TerminalExited)
                if isinstance(event, TerminalOutput):
                    assert event.offset == count
                    count += len(event.data)
                    seen += event.data
            group.cancel_scope.cancel()
        assert seen == b"".join(b"%059d\n" % number for number in range(lines))
        assert proxy.cuts >= 3
        assert session.role == "controller"
        await session.write(b"\n")
        while not isinstance(await session.receive(), TerminalExited):
            pass


async def test_who_typed_goes_on_typing(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, _):
        _, _, session = await opened(client, "stty -echo; while read line; do printf '<%s>' $line; done")
        for number in range(5):
            await reconnected(client, proxy)
            # At once: the look has not been begun again yet, and the keys wait for it.
            await session.write(b"%d\n" % number)
            assert await until(session, b"<%d>" % number) == b"<%d>" % number
            assert session.role == "controller"
        await reconnected(client, proxy)
        async with anyio.create_task_group() as group:  # several wait for the same look
            group.start_soon(session.write, b"x\n")
            group.start_soon(session.resize, 50, 120)
        assert await until(session, b"<x>") == b"<x>"
        assert session.info.controller == "me"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_keys_survive_cuts_without_one_lost_or_doubled(bench: Bench, seed: int) -> None:
    """Cut anywhere: before the daemon has heard of them, while it hands them over, and while its answer is on its way."""
    chance = random.Random(seed)
    keys = b"".join(b"%07d\n" % number for number in range(5_000))
    script = f"stty raw -echo; printf go; head -c {len(keys)} > typed; printf done; read end"
    async with behind_a_proxy(bench) as (client, proxy, _):
        _, _, session = await opened(client, script)
        await until(session, b"go")
        async with anyio.create_task_group() as group:
            group.start_soon(partial(cut_now_and_then, proxy, chance, 1000, within=8_000))
            at = 0
            while at < len(keys):
                step = chance.choice((1, 80, 3_000))
                await session.write(keys[at : at + step])
                at += step
            group.cancel_scope.cancel()
        assert proxy.cuts >= 5
        await until(session, b"done")
        assert await (await client.attach("one")).fs.read_bytes("typed") == keys


async def test_keys_that_wait_for_their_program_are_handed_over_once(bench: Bench) -> None:
    """The program reads nothing for a while: what was under way at the cut is still being handed over when it is sent again."""
    size = 2_000_000  # more than what lies between takes unread
    script = f"stty raw -echo; printf go; read go < pipe; head -c {size} | wc -c; read end"
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        ws, session = await stalled(client, script)
        async with anyio.create_task_group() as group:
            group.start_soon(session.write, b"x" * size)
            for _ in range(3):
                await eventually(lambda: any(not each.idle for each in typists(daemon)))
                await reconnected(client, proxy)
            await ws.exec("sh", "-c", "echo > pipe")
        assert await until(session, b"%d" % size)
        assert [each.taken for each in typists(daemon)] == [size]


def typists(daemon: Daemon) -> list[Typist]:
    return [each for known in daemon._open.hub.typists._known.values() for each in known.values()]


async def test_keys_that_nobody_wants_any_more_are_not_typed_later(bench: Bench) -> None:
    script = "stty raw -echo; printf go; read go < pipe; while read line; do printf '<%s>' ${#line}; done"
    async with behind_a_proxy(bench) as (client, _, daemon):
        ws, session = await stalled(client, script)
        async with anyio.create_task_group() as group:
            group.start_soon(session.write, b"x" * 2_000_000)
            await eventually(lambda: any(not each.idle for each in typists(daemon)))
            group.cancel_scope.cancel()
        await eventually(lambda: all(each.idle for each in typists(daemon)))
        await ws.exec("sh", "-c", "echo > pipe")
        await session.write(b"\nhere\n")  # as another typist, since how far the first came is not clear
        assert b"<4>" in await until(session, b"<4>")


async def test_keys_under_way_when_the_daemon_is_replaced_are_told_of(bench: Bench) -> None:
    """A new daemon cannot know what the old one has handed over."""
    script = "stty raw -echo; printf go; read go < pipe; cat > /dev/null"
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        ws, session = await stalled(client, script)
        async with anyio.create_task_group() as group:

            async def type_in() -> None:
                with pytest.raises(ConnectionLost, match="replaced"):
                    await session.write(b"x" * 2_000_000)

            group.start_soon(type_in)
            await eventually(lambda: any(not each.idle for each in typists(daemon)))
            sessions = daemon._open.hub.sessions
            for known in tuple(sessions._known.values()):
                sessions.end(known)  # what a daemon knows that has just begun
            await reconnected(client, proxy)
        await ws.exec("sh", "-c", "echo > pipe")
        await session.write(b"on")
        assert typists(daemon)[-1].taken == 2


async def test_a_daemon_that_knows_no_offsets_is_typed_to_and_a_cut_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: object, **__: object) -> dict[str, JsonValue]:
        return {}

    monkeypatch.setattr(greeting, "capabilities", none)
    script = "stty raw -echo; printf go; head -c 3; read go < pipe; cat > /dev/null"
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        ws, session = await stalled(client, script)
        await session.write(b"abc")
        assert await until(session, b"abc")
        async with anyio.create_task_group() as group:

            async def type_in() -> None:
                with pytest.raises(ConnectionLost):
                    await session.write(b"x" * 2_000_000)

            group.start_soon(type_in)
            await eventually(lambda: daemon._open.hub.requests > 0)
            await reconnected(client, proxy)
        assert typists(daemon) == []
        await ws.exec("sh", "-c", "echo > pipe")


async def test_cuts_while_it_looks_again(bench: Bench) -> None:
    """A second cut before the first was overcome: the look is begun again all the same."""
    async with behind_a_proxy(bench) as (client, proxy, _):
        _, _, session = await opened(client, "stty -echo; while read line; do printf '<%s>' $line; done")
        for _ in range(10):
            await reconnected(client, proxy)
            proxy.cut()
        await reconnected(client, proxy)
        await session.write(b"here\n")
        assert await until(session, b"<here>") == b"<here>"


async def test_who_took_over_meanwhile_keeps_it(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        _, terminal, session = await opened(client, "stty -echo; read a; printf '<%s>' $a; read b")
        await kept_away(proxy, daemon)
        async with nexus.connect(daemon.dial, token=daemon.issue_token()) as other:
            info = (await other.attach("one")).info
            theirs = await other.terminals(info).attach(terminal, AttachRequest(client="them"))
            proxy.refusing = False
            await theirs.write(b"theirs\n")
            await until(session, b"<theirs>")
            assert (session.role, session.info.controller) == ("viewer", "them")
            with pytest.raises(NotController):
                await session.write(b"mine\n")
            assert theirs.role == "controller"


async def test_sizes_are_told_once_and_none_is_missed(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        terminals, terminal, session = await opened(client, "stty -echo; while read line; do printf '<%s>' $line; done")
        viewer = await terminals.attach(terminal, AttachRequest(role="viewer", replay="all"))
        sizes: list[int] = []

        async def follow(wanted: bytes) -> None:
            seen = b""
            while wanted not in seen:
                event = await viewer.receive()
                if isinstance(event, TerminalOutput):
                    seen += event.data
                if isinstance(event, TerminalResized):
                    sizes.append(event.mark.rows)

        await session.resize(30, 80)
        await session.write(b"a\n")
        await follow(b"<a>")
        await kept_away(proxy, daemon)
        async with nexus.connect(daemon.dial, token=daemon.issue_token()) as other:
            theirs = await other.terminals((await other.attach("one")).info).attach(terminal)
            await theirs.resize(40, 80)  # while nobody else looks, and before anything else is printed
            await theirs.detach()
        proxy.refusing = False
        await session.write(b"b\n")
        await follow(b"<b>")
        await reconnected(client, proxy)
        await session.write(b"c\n")
        await follow(b"<c>")
        assert sizes == [30, 40]


async def test_what_was_dropped_meanwhile_is_told(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        script = "stty raw -echo; printf begin; read a; head -c 200000 /dev/zero | tr '\\0' x; printf end; read b"
        _, terminal, session = await opened(client, script, scrollback=10_000)
        begun = await until(session, b"begin")
        await kept_away(proxy, daemon)
        async with nexus.connect(daemon.dial, token=daemon.issue_token()) as other:
            theirs = await other.terminals((await other.attach("one")).info).attach(terminal)
            await theirs.write(b"\n")
            await until(theirs, b"end")
            await theirs.detach()
        proxy.refusing = False
        events: list[TerminalEvent] = []
        while not (events and isinstance(events[-1], TerminalOutput) and events[-1].data.endswith(b"end")):
            events.append(await session.receive())
        (gap,) = [event for event in events if isinstance(event, TerminalGap)]
        first = next(event for event in events if isinstance(event, TerminalOutput))
        assert gap.start == len(begun)
        assert gap.end == first.offset
        assert sum(len(event.data) for event in events if isinstance(event, TerminalOutput)) <= 10_000
        assert any(isinstance(event, TerminalChanged) for event in events)


async def test_a_viewer_that_does_not_read_holds_nobody_up(bench: Bench) -> None:
    size = 8_000_000
    async with behind_a_proxy(bench) as (client, _, daemon):
        script = f"stty raw -echo; printf go; read go; head -c {size} /dev/zero; printf end; read done"
        terminals, terminal, session = await opened(client, script)
        viewer = await terminals.attach(terminal, AttachRequest(role="viewer", replay="all"))
        await until(session, b"go")
        count = 0
        await session.write(b"\n")
        while count < size + 3:
            event = await session.receive()
            assert not isinstance(event, TerminalGap)
            count += len(event.data) if isinstance(event, TerminalOutput) else 0
        assert await client.list()  # nor does it hold up other calls of its connection
        assert isinstance(viewer, RemoteTerminalSession)
        held = sum(len(event.data) for event in viewer._arrived.waiting if isinstance(event, TerminalOutput))
        assert held <= daemon._limits.stream_window
        tail, gaps = b"", 0
        while not tail.endswith(b"end"):
            event = await viewer.receive()
            gaps += isinstance(event, TerminalGap)
            tail = (tail + event.data)[-3:] if isinstance(event, TerminalOutput) else tail
        assert gaps >= 1


async def test_a_look_that_was_left_is_not_begun_again(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, proxy, daemon):
        terminals, terminal, session = await opened(client, "read x")
        proxy.refusing = True
        proxy.cut()
        await session.detach()
        proxy.refusing = False
        assert (await terminals.get(terminal)).controller is None
        async with anyio.create_task_group() as group:  # one that is called off while it is on its way
            group.start_soon(terminals.attach, terminal)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await eventually(lambda: not looks(daemon))
        assert (await terminals.get(terminal)).controller is None


async def test_no_look_is_left_of_fifty_connections_that_die(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, _, daemon):
        terminals, terminal, session = await opened(client, "read x")
        await session.detach()
        for number in range(50):
            async with talking(daemon) as talker:
                await talker.call("terminal.attach", workspace="one", terminal=terminal, takeover=True)
                if number % 2:
                    await talker.ask("terminal.attach", workspace="one", terminal=terminal, role="viewer")
        await eventually(lambda: daemon._open.hub.connections == 1 and not looks(daemon))
        info = await terminals.get(terminal)
        assert (info.controller, info.viewers) == (None, 0)


async def test_nothing_is_kept_of_terminals_that_have_ended(bench: Bench) -> None:
    async with behind_a_proxy(bench) as (client, _, daemon):
        terminals, terminal, session = await opened(client, "exit 3")
        for _ in range(5):
            while not isinstance(await session.receive(), TerminalExited):
                pass
            session = await terminals.attach(terminal, AttachRequest(replay="all"))
        await session.detach()
        (connection,) = daemon._open.connections
        await eventually(lambda: not (connection.looks or connection.streams.outlets or connection.wire.streams))
        assert client._line.current is not None
        assert not client._line.current.sinks
