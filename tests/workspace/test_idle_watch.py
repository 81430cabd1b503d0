"""The watch on the mock backend, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import nexus
from nexus.errors import InvalidArgument, NotFound, ProviderUnavailable, WorkspaceNotFound, WorkspaceStopped
from nexus.models.events import PortClosed, PortOpened, StatusChanged, WorkspaceEvent
from nexus.models.terminals import TerminalState
from nexus.models.workspace import WorkspaceStatus
from nexus.providers.mock.process import ProgramCall
from nexus.providers.mock.script import RecordedCall
from nexus.testing import ManualClock
from nexus.workspace import memory
from tests.workbench import Bench, make_bench

RUNNING, PAUSED, STOPPED = WorkspaceStatus.RUNNING, WorkspaceStatus.PAUSED, WorkspaceStatus.STOPPED
MINUTE, HOUR = 60.0, 3600.0


class Site:
    """A repository on the mock backend and the clock that its managers judge by."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.clock = ManualClock()

    def open(self, flags: dict[str, JsonValue] | None = None) -> nexus.WorkspaceManager:
        bench = self.bench
        return nexus.open(
            bench.repository, flags={**bench.flags, **(flags or {})}, providers=bench.providers, clock=self.clock
        )

    async def at_rest(self, watches: int = 1) -> None:
        """Return once everything is done that is due; each watch sleeps twice, for itself and for the prebuilt image."""
        await self.clock.at_rest(2 * watches)

    async def pass_(self, seconds: float) -> None:
        """Let time pass, and the watch do what is due."""
        self.clock.advance(seconds)
        await self.at_rest()

    async def pass_for_ports(self, seconds: float) -> None:
        """Let time pass, and the watch over ports look."""
        self.clock.advance(seconds)
        await self.clock.at_rest()


@pytest.fixture
def site(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(make_bench("mock", repository, tmp_path, request))


@asynccontextmanager
async def watched(nx: nexus.WorkspaceManager, site: Site) -> AsyncGenerator[None, None]:
    async with anyio.create_task_group() as group:
        group.start_soon(nx.watch_idle)
        await site.at_rest()
        yield
        group.cancel_scope.cancel()


async def next_status(events: AsyncIterator[WorkspaceEvent], status: WorkspaceStatus) -> StatusChanged:
    with anyio.fail_after(60):
        async for event in events:
            if isinstance(event, StatusChanged) and event.status is status:
                return event
    raise AssertionError(status)


async def test_a_workspace_sleeps_when_nothing_happens_and_the_next_command_wakes_it(site: Site) -> None:
    async with site.open() as nx, watched(nx, site), nx.create("a") as ws, nx.events() as events:
        await ws.exec("true")
        await site.pass_(20 * MINUTE)
        assert (await ws.refresh()).awake_because == ("used 20m ago; sleeps in 10m unless used",)
        await ws.exec("true")
        await site.pass_(20 * MINUTE)
        assert await ws.status() is RUNNING, "idleness counts from the last command"

        site.clock.advance(11 * MINUTE)
        assert (await next_status(events, PAUSED)).reason == "nothing happened in it for 31m"
        await site.at_rest()
        asleep = await ws.refresh()
        assert (asleep.status, asleep.awake_because) == (PAUSED, ())
        assert asleep.asleep_since is not None

        with pytest.raises(WorkspaceStopped):
            await ws.exec("true", wake=False)
        assert (await ws.exec("echo", "up")).stdout == "up\n"
        assert await ws.status() is RUNNING
        assert ws.info.asleep_since is None

        # Asleep for longer it is stopped, and a command still brings it back.
        await site.at_rest()
        site.clock.advance(31 * MINUTE)
        await next_status(events, PAUSED)
        await site.at_rest()
        site.clock.advance(4 * HOUR + MINUTE)
        await next_status(events, STOPPED)
        await site.at_rest()
        assert (await ws.refresh()).asleep_since is not None
        async with ws.spawn("echo", "again") as process:
            assert (await process.wait()).stdout == "again\n"
        assert await ws.status() is RUNNING


async def test_what_is_typed_into_a_terminal_keeps_a_workspace_awake_and_wakes_one_that_sleeps(site: Site) -> None:
    async with site.open() as nx, watched(nx, site), nx.create("a") as ws, nx.events() as events:
        terminal = await ws.terminals.open("sh", name="mine")
        for _ in range(3):
            await site.pass_(20 * MINUTE)
            await terminal.write("\n")
        assert (await ws.refresh()).awake_because[0] == "typed into terminal mine 0s ago"
        site.clock.advance(31 * MINUTE)  # one that is only open is no work
        await next_status(events, PAUSED)
        await site.at_rest()
        await terminal.write("printf 'awa%s\\n' ke\n")
        assert await ws.status() is RUNNING
        async for data in terminal:
            if b"awake" in data:
                break

        # Asleep for so long that it was stopped: its next key starts it, and a shell in it.
        site.clock.advance(31 * MINUTE)
        await next_status(events, PAUSED)
        await site.at_rest()
        site.clock.advance(5 * HOUR)
        await next_status(events, STOPPED)
        await site.at_rest()
        await terminal.write("printf 'awa%s\\n' ke\n")
        assert await ws.status() is RUNNING
        async for data in terminal:
            if b"awake" in data:
                break


async def test_one_that_a_switch_left_is_stopped_in_time_or_when_memory_is_short(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [1 << 30]
    monkeypatch.setattr(memory, "available", lambda: left[0])
    async with (
        site.open() as nx,
        watched(nx, site),
        nx.create("a") as a,
        nx.create("b") as b,
        nx.create("c") as c,
        nx.events() as events,
    ):
        for ws in (a, b, c):
            site.clock.advance(1)
            await nx.switch(ws.name)
        await site.pass_(MINUTE)
        assert [await ws.status() for ws in (a, b, c)] == [PAUSED, PAUSED, RUNNING]
        with pytest.raises(WorkspaceStopped):  # its user went away from it: nothing wakes it unasked
            await a.exec("true")
        left[0] = 1
        site.clock.advance(2 * MINUTE)
        first, second = await next_status(events, STOPPED), await next_status(events, STOPPED)
        assert [(each.name, each.reason) for each in (first, second)] == [
            ("a", "memory is short"),  # it slept longest
            ("b", "memory is short"),
        ]
        left[0] = 1 << 30
        await site.at_rest()
        await nx.switch("b")
        site.clock.advance(5 * HOUR)
        stopped = await next_status(events, STOPPED)
        assert (stopped.name, stopped.reason.split()[0]) == ("c", "asleep")
        await site.at_rest()


async def test_a_switch_that_is_to_stop_what_it_leaves_does(site: Site) -> None:
    async with site.open({"defaults.switch": "stop"}) as nx, nx.create("a") as a, nx.create("b"):
        await nx.switch("a")
        terminal = await a.terminals.open("sh")
        assert (await nx.switch("b")).previous_status is STOPPED
        assert [info.state for info in await a.terminals.list()] == [TerminalState.KEPT]
        await nx.switch("a")
        async for data in terminal:
            if b"this is a new shell" in data:
                break


async def test_one_that_was_paused_or_stopped_by_hand_is_neither_stopped_nor_woken(site: Site) -> None:
    async with site.open() as nx, watched(nx, site), nx.create("a") as one, nx.create("b") as other:
        await one.pause()
        await other.stop()
        await site.pass_(48 * HOUR)
        for ws, status in ((one, PAUSED), (other, STOPPED)):
            with pytest.raises(WorkspaceStopped):
                await ws.exec("true")
            assert await ws.status() is status


async def test_commands_and_holds_keep_a_workspace_awake_and_it_says_which(site: Site) -> None:
    assert site.bench.script is not None
    done = anyio.Event()

    async def build(call: ProgramCall) -> int:
        await done.wait()
        return 0

    site.bench.script.program("build", build)
    async with site.open() as nx, watched(nx, site), nx.create("a") as ws, nx.events() as events:
        # Started by one program, watched by another one: the backend knows.
        async with site.open() as starter, (await starter.attach("a")).spawn("build", "--secret") as process:
            for _ in range(5):
                await site.pass_(31 * MINUTE)
            why = (await ws.refresh()).awake_because
            assert (ws.info.status, why[0]) == (RUNNING, "running: build")
            assert "--secret" not in str(why)
            done.set()
            await process.wait()

        hold = await ws.hold("review", ttl=2 * HOUR, reason="somebody reads")
        assert hold.expires_at == site.clock.now() + hold.ttl
        await site.pass_(1.5 * HOUR)
        assert await ws.status() is RUNNING
        (told,) = ws.info.awake_because
        assert told.startswith("held by 'review' until")
        assert "(somebody reads)" in told
        assert [one.name for one in await ws.holds()] == ["review"]

        # A hold survives the program that took it, and ends by itself.
        async with site.open() as other:
            assert [one.reason for one in await other.holds("a")] == ["somebody reads"]
        site.clock.advance(31 * MINUTE)
        await next_status(events, PAUSED)
        assert await ws.holds() == ()

        await ws.start()
        await ws.hold("again", ttl=HOUR)
        await ws.release("again")
        with pytest.raises(NotFound, match="no hold 'again'"):
            await ws.release("again")


async def test_a_terminal_keeps_a_workspace_awake_only_while_somebody_types(site: Site) -> None:
    async with site.open() as nx, watched(nx, site), nx.events() as events:
        ws = await nx.create("a")
        shell = await ws.spawn("cat", stdin=True, pty=nexus.Pty())
        for _ in range(3):
            await site.pass_(20 * MINUTE)
            await shell.write(b"x\n")
        assert await ws.status() is RUNNING
        site.clock.advance(31 * MINUTE)
        await next_status(events, PAUSED)
        await ws.resume()
        await shell.aclose()
        await ws.destroy()


async def test_a_server_that_only_waits_may_be_put_to_sleep(site: Site) -> None:
    async with site.open() as nx, watched(nx, site), nx.events() as events:
        ws = await nx.create("a")
        server = await ws.spawn("cat", stdin=True, keeps_awake=False)
        site.clock.advance(31 * MINUTE)
        await next_status(events, PAUSED)
        assert await ws.status() is PAUSED
        await ws.resume()
        await server.aclose()
        await ws.destroy()


async def test_a_hold_of_a_block_is_renewed_and_released(site: Site) -> None:
    async with site.open() as nx:
        ws = await nx.create("a")
        async with ws.hold("job", ttl=0.3) as hold:
            first = hold.renewed_at
            site.clock.advance(0.2)
            with anyio.fail_after(60):
                while (await ws.holds())[0].renewed_at == first:  # noqa: ASYNC110 - nothing tells of a renewal
                    await anyio.sleep(0.02)
            assert (await ws.holds())[0].taken_at == hold.taken_at
        assert await ws.holds() == ()
        with pytest.raises(KeyError):
            async with ws.hold("job"):
                raise KeyError("the block's own error, not a group of it")
        assert await ws.holds() == ()
        capped = await ws.hold("long", ttl=1000 * HOUR)
        assert capped.ttl.total_seconds() == 24 * HOUR
        with pytest.raises(InvalidArgument, match="hold 'No good' cannot be taken"):
            await ws.hold("No good")
        with pytest.raises(InvalidArgument, match="greater than zero"):
            await ws.hold("zero", ttl=0)
        with pytest.raises(WorkspaceNotFound):
            await nx.hold("nobody", "x", ttl=1)
        await ws.destroy()
        assert not list((site.bench.repository / ".nexus" / "state" / "holds").iterdir())


async def test_one_past_its_time_is_destroyed_but_never_unsaved_work_or_one_that_is_held(site: Site) -> None:
    async with site.open() as nx, watched(nx, site), nx.events() as events:
        saved = await nx.create("saved", ttl=HOUR)
        dirty = await nx.create("dirty", ttl=HOUR, start=False)
        held = await nx.create("held", ttl=HOUR)
        (dirty.info.worktree_path / "notes").write_text("mine")
        await held.hold("demo", ttl=5 * HOUR)
        site.clock.advance(HOUR + 1)
        gone = await next_status(events, WorkspaceStatus.DESTROYED)
        assert gone.name == saved.name
        await site.at_rest()
        assert [entry.name for entry in await nx.list()] == ["dirty", "held"]
        kept = {action.name: action.reason for action in await nx.gc() if action.kind == "expired"}
        assert "held by demo" in kept["held"]
        assert "holds work" in kept["dirty"]

        await held.release("demo")
        (dirty.info.worktree_path / "notes").unlink()
        site.clock.advance(6 * HOUR)
        await next_status(events, WorkspaceStatus.DESTROYED)
        await next_status(events, WorkspaceStatus.DESTROYED)
        assert await nx.list() == ()


async def test_the_watch_survives_a_backend_that_fails_and_a_clock_that_is_set_back(site: Site) -> None:
    assert site.bench.script is not None
    async with site.open() as nx, watched(nx, site), nx.create("a") as ws, nx.events() as events:
        site.bench.script.fail("pause", error=lambda: ProviderUnavailable("away"), times=2)
        site.clock.advance(31 * MINUTE)
        await site.at_rest()
        assert await ws.status() is RUNNING
        await site.pass_(2 * MINUTE)
        site.clock.advance(2 * MINUTE)
        await next_status(events, PAUSED)

        await ws.start()
        await site.at_rest()
        site.clock.jump(-300 * HOUR)
        await site.pass_(2 * MINUTE)
        assert await ws.status() is RUNNING
        site.clock.advance(32 * MINUTE)
        await next_status(events, PAUSED)
        await ws.resume()


async def test_a_time_chosen_at_creation_outlives_the_program_that_chose_it(site: Site) -> None:
    config = site.bench.repository / ".nexus" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text("defaults: {idle_timeout: 1h, stop_after: 2h}\n")
    async with site.open() as nx:
        await nx.create("short", settings={"idle_timeout": "10m"})
        await nx.create("never", settings={"idle_timeout": None})
        await nx.create("usual")
    async with site.open() as nx, watched(nx, site), nx.events() as events:
        site.clock.advance(11 * MINUTE)
        assert (await next_status(events, PAUSED)).name == "short"
        site.clock.advance(HOUR)
        assert (await next_status(events, PAUSED)).name == "usual"
        await site.at_rest()
        assert (await nx.get("never")).awake_because == ("idle_timeout is off",)
        site.clock.advance(2 * HOUR)
        assert {(await next_status(events, STOPPED)).name for _ in range(2)} == {"short", "usual"}
        for name in ("short", "usual", "never"):
            await nx.destroy(name)


async def test_two_watches_do_no_harm_and_a_command_that_begins_meanwhile_is_not_left_frozen(site: Site) -> None:
    assert site.bench.script is not None
    async with site.open() as nx, site.open() as other, nx.create("a") as ws, anyio.create_task_group() as group:
        group.start_soon(nx.watch_idle)
        group.start_soon(other.watch_idle)
        await site.at_rest(watches=2)
        reached, go = anyio.Event(), anyio.Event()

        async def hold_up(_: RecordedCall) -> None:
            reached.set()
            await go.wait()

        site.bench.script.before("pause", hold_up)
        site.clock.advance(31 * MINUTE)
        await reached.wait()
        begun: list[nexus.Process] = []

        async def begin() -> None:
            begun.append(await ws.spawn("cat", stdin=True))

        group.start_soon(begin)  # between the last look and the pause, which it may not overtake
        go.set()
        with anyio.fail_after(60):
            while not begun:  # noqa: ASYNC110 - it waits in the library, or does not
                await anyio.sleep(0.01)
            (process,) = begun
            await site.at_rest(watches=2)
            while (await ws.status()) is not RUNNING:  # noqa: ASYNC110 - which of the two watches acts is not known
                await anyio.sleep(0.01)
        await process.write(b"hello")
        await process.write_eof()
        assert (await process.wait()).stdout == "hello"
        group.cancel_scope.cancel()


async def test_a_backend_that_cannot_pause_stops_and_one_that_does_not_answer_ends_nothing(site: Site) -> None:
    script = site.bench.script
    assert script is not None
    async with site.open({"backends.mock.without": ["pause"]}) as nx, watched(nx, site), nx.events() as events:
        ws = await nx.create("a")
        script.down = "away"
        await site.pass_(31 * MINUTE)
        await site.pass_(31 * MINUTE)
        script.down = None
        assert await ws.status() is RUNNING
        site.clock.advance(31 * MINUTE)
        assert (await next_status(events, STOPPED)).reason.startswith("nothing happened in it for")
        assert (await ws.exec("echo", "up")).stdout == "up\n"
        await ws.destroy()


async def test_open_ports_are_told_until_the_workspace_stops(site: Site) -> None:
    world = site.bench.world
    assert world is not None
    seen: list[WorkspaceEvent] = []
    async with site.open({"ports.web": 3000}) as nx, anyio.create_task_group() as group:
        nx.observe(seen.append)
        ws = await nx.create("a")
        web = ws.ports["web"].host_port
        group.start_soon(nx.watch_ports)
        await site.clock.at_rest()
        world.listen(ws.id, web)
        world.listen(ws.id, 5173, address="127.0.0.1")
        await site.pass_for_ports(5)
        await ws.pause()
        await site.pass_for_ports(5)
        await ws.resume()
        world.listen(ws.id, 5173, address="127.0.0.1", on=False)
        await site.pass_for_ports(5)
        await ws.stop()
        await site.pass_for_ports(5)
        group.cancel_scope.cancel()
    told = [(one.kind, one.port, one.port_name) for one in seen if isinstance(one, PortOpened | PortClosed)]
    assert sorted(told[:2]) == [("port_opened", 3000, "web"), ("port_opened", 5173, None)]
    assert told[2:] == [("port_closed", 5173, None), ("port_closed", 3000, "web")]
    async with site.open() as nx:
        (view,) = await nx.list_ports("a")
        assert (view.name, view.listening) == ("web", False)
        assert site.bench.script is not None
        site.bench.script.down = "away"
        assert (await nx.list_ports("a"))[0].listening is None
        site.bench.script.down = None
        await nx.destroy("a")
