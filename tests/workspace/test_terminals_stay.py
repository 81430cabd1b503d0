"""Terminals outlive clients, managers that are closed or killed, switches; nothing of them is readable by others or left behind."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nexus
from nexus.errors import Busy, TerminalNotFound
from nexus.models.terminals import TerminalGap, TerminalOutput, TerminalState
from tests.workbench import Bench, leftovers, make_bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CHILD = """
import json, sys
import anyio
import nexus

repository, flags, script = sys.argv[1:]

async def main():
    async with nexus.open(repository, flags=json.loads(flags)) as nx:
        ws = await nx.attach("seat")
        argv = ("sh", "-c", script) if script else ("sh",)
        terminal = await ws.terminals.open(*argv, name="mine")
        if not script:
            await terminal.write("echo $$ >pid.new; mv pid.new pid; printf 'sho%s\\\\n' wn\\n")
        seen = b""
        while b"shown" not in seen:
            event = await terminal.receive()
            seen += getattr(event, "data", b"")
        print(json.dumps({"id": terminal.id, "offset": terminal.offset, "pid": terminal.info.pid}), flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


@pytest.fixture
def local(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


class Server:
    """A process of its own that serves a terminal."""

    def __init__(self, bench: Bench, script: str = "") -> None:
        flags = json.dumps({**bench.flags, **bench.extra})
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(bench.repository), flags, script], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_for(path: Path, holding: bytes = b"") -> None:
    until = time.monotonic() + 30
    while not path.exists() or holding not in path.read_bytes():
        assert time.monotonic() < until, f"{path} never appeared"
        time.sleep(0.01)


async def read_until(terminal: nexus.Terminal, wanted: bytes) -> bytes:
    seen = b""
    async for data in terminal:
        seen += data
        if wanted in seen:
            return seen
    raise AssertionError(f"it ended before {wanted!r}: {seen[-300:]!r}")


async def make_seat(bench: Bench) -> Path:
    async with bench.open() as nx:
        ws = await nx.create("seat")
        return ws.info.worktree_path


async def remove_seat(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.attach("seat")
        for junk in ("pid", "went", "go"):
            (ws.info.worktree_path / junk).unlink(missing_ok=True)
        await ws.destroy()
    assert await leftovers(bench) == []
    kept = bench.repository / ".nexus" / "state" / "terminals"
    assert not kept.exists() or list(kept.iterdir()) == []


async def test_a_program_survives_the_death_of_its_server_and_not_a_byte_is_lost(local: Bench) -> None:
    tree = await make_seat(local)
    server = Server(
        local, "printf shown; until [ -e go ]; do sleep 0.01; done; printf 'after %s' it; touch went; read x"
    )
    async with local.open() as nx:
        ws = await nx.attach("seat")
        (info,) = await ws.terminals.list()
        assert (info.state, info.elsewhere is not None, info.survives) == (TerminalState.RUNNING, True, True)
        with pytest.raises(Busy, match="served by process"):
            await ws.terminals.attach(info.id)
    server.kill()
    (tree / "go").touch()
    wait_for(tree / "went")
    async with local.open() as nx:
        ws = await nx.attach("seat")
        (info,) = await ws.terminals.list()
        assert (info.id, info.state, info.elsewhere) == (server.said["id"], TerminalState.RUNNING, None)
        async with ws.terminals.attach(info.id, since=server.said["offset"]) as terminal:
            assert await read_until(terminal, b"after it") == b"after it"
            assert terminal.info.pid == server.said["pid"]
            assert terminal.info.restored is None
        async with ws.terminals.attach(info.id, replay="all") as terminal:
            assert b"shownafter it" in await read_until(terminal, b"after it")
            await terminal.write("\n")
            assert (await terminal.wait()).exit_code == 0
    await remove_seat(local)


async def test_one_that_ended_while_nobody_served_it_still_says_how(local: Bench) -> None:
    tree = await make_seat(local)
    server = Server(local, "printf shown; until [ -e go ]; do sleep 0.01; done; printf over; touch went; exit 5")
    server.kill()
    (tree / "go").touch()
    wait_for(tree / "went")
    async with local.open() as nx:
        ws = await nx.attach("seat")
        async with ws.terminals.attach(server.said["id"], since=server.said["offset"]) as terminal:
            assert await read_until(terminal, b"over") == b"over"
            assert (await terminal.wait()).exit_code == 5
    await remove_seat(local)


async def test_a_shell_comes_back_after_the_death_of_its_server(bench: Bench) -> None:
    await make_seat(bench)
    server = Server(bench)
    (file,) = (bench.repository / ".nexus" / "state" / "terminals").glob(f"*/{server.said['id']}.term")
    wait_for(file, holding=b"shown")
    server.kill()
    async with bench.open() as nx:
        ws = await nx.attach("seat")
        (info,) = await ws.terminals.list()
        assert info.state is (TerminalState.RUNNING if bench.backend == "local" else TerminalState.KEPT)
        async with ws.terminals.attach(info.id, replay="all") as terminal:
            if bench.backend == "local":
                assert terminal.info.pid == server.said["pid"]
            else:
                seen = await read_until(terminal, b"[nexus: this is a new shell")
                assert b"shown" in seen
                # Nobody can join a container's command: the one before is not left running beside it.
                assert (await ws.shell("kill -0 $(cat pid)")).exit_code != 0
            await terminal.write("printf 'and %s\\n' again\n")
            await read_until(terminal, b"and again\r\n")
        # What a client knows from before is told to be a gap, unless it is exactly what goes on.
        async with ws.terminals.attach(info.id, since=server.said["offset"], role="viewer") as late:
            events = [await late.receive()]
            if bench.backend != "local":
                assert late.point.gap == (server.said["offset"], late.point.start)
            assert isinstance(events[0], TerminalOutput | TerminalGap)
    await remove_seat(bench)


async def test_a_manager_that_is_closed_leaves_terminals_to_the_next(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("seat")
        terminal = await ws.terminals.open("sh")
        await terminal.write("printf 'sho%s\\n' wn\n")
        await read_until(terminal, b"shown")
        left = terminal.offset
    assert [data async for data in terminal if b"shown" in data] == []  # it comes to its end with its manager
    async with bench.open() as nx:
        ws = await nx.attach("seat")
        (info,) = await ws.terminals.list()
        async with ws.terminals.attach(info.id, since=left) as again:
            # Nothing was printed unseen and nothing was masked: offsets go on.
            assert again.point.gap is None
            await again.write("printf 'and %s\\n' again\n")
            await read_until(again, b"and again\r\n")
        await ws.terminals.kill(info.id)
        with pytest.raises(TerminalNotFound):
            await ws.terminals.get(info.id)
    await remove_seat(bench)


async def test_a_switch_there_and_back_changes_nothing(bench: Bench) -> None:
    async with bench.open() as nx, nx.create("one") as one, nx.create("two") as two:
        await nx.switch("one")
        terminal = await one.terminals.open("sh", "-c", "printf shown; read x; printf 'and %s' after; read x")
        await read_until(terminal, b"shown")
        await nx.switch("two")
        assert [info.state for info in await one.terminals.list()] == [TerminalState.RUNNING]
        assert await two.terminals.list() == ()
        await nx.switch("one")
        await terminal.write("\n")
        await read_until(terminal, b"and after")
        assert terminal.info.restored is None


async def test_what_is_kept_is_private_and_holds_no_secret(local: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRECIOUS", "hunter2-and-more")
    local.extra["secrets.named.TOKEN"] = {"source": "env", "var": "PRECIOUS"}
    async with local.open() as nx, nx.create("seat") as ws:
        async with ws.terminals.open("sh", env={"OTHER": "not-written-down"}) as terminal:
            await terminal.write(
                "printf '<%s>\\n' \"$TOKEN\"; printf '\\033]2;%s\\007' \"$TOKEN\"; printf 'do%s\\n' ne\n"
            )
            assert b"<hunter2-and-more>" in await read_until(terminal, b"done")
            await ws.stop()
            folder = local.repository / ".nexus" / "state" / "terminals" / ws.id
            (file,) = folder.glob("*.term")
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            content = file.read_bytes()
            assert b"<***>" in content
            assert b"hunter2" not in content
            assert b"not-written-down" not in content
        record = json.loads((local.repository / ".nexus" / "state" / "workspaces" / "seat.json").read_text())
        assert record["left_running"]["terminals"] == [terminal.id]
        assert list(folder.glob("*.term")) == []


async def test_what_a_clone_brings_is_not_run(local: Bench) -> None:
    async with local.open() as nx:
        ws = await nx.create("seat")
        terminal = await ws.terminals.open("sh", rerun=True)
        await ws.stop()
        file = local.repository / ".nexus" / "state" / "terminals" / ws.id / f"{terminal.id}.term"
    header, _, shown = file.read_bytes().partition(b"\n")
    forged = {**json.loads(header), "argv": ["sh", "-c", "touch evil; read x"]}
    file.write_bytes(json.dumps(forged).encode() + b"\n" + shown)
    async with local.open() as nx:
        ws = await nx.attach("seat")
        await ws.start()
        async with ws.terminals.attach(terminal.id) as again:
            assert b"was not run again" in await read_until(again, b"was not run again")
        assert not (ws.info.worktree_path / "evil").exists()
    await remove_seat(local)
