"""A daemon's process that is killed with SIGKILL while clients are connected: workspaces run on, and the next one goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import nexus
from nexus.errors import ConnectionLost
from nexus.models.terminals import TerminalGap, TerminalOutput
from tests.daemon.conftest import until
from tests.serving.conftest import Daemons
from tests.workbench import Bench, leftovers, make_bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


def client_of(daemons: Daemons) -> nexus.NexusClient:
    """A client that knows where daemons of this repository are, whichever runs."""

    async def token() -> str:
        found = daemons.announced()
        if found is None:
            raise ConnectionLost("none runs now")
        return found.token

    return nexus.connect(daemons.places.socket, token=token, backoff=nexus.Backoff(longest=0.2))


async def shows(terminal: nexus.Terminal, wanted: bytes) -> bytes:
    """Read until it was shown; what a gap brings along counts."""
    seen = b""
    while wanted not in seen:
        match await terminal.receive():
            case TerminalOutput(data=data):
                seen += data
            case TerminalGap(prefix=prefix):
                seen += prefix
            case _:
                pass
    return seen


async def test_clients_terminals_and_workspaces_outlive_it(bench: Bench, daemons: Daemons) -> None:
    first = await daemons.start(bench.flags)
    async with client_of(daemons) as nx:
        ws = await nx.create("seat")
        # Something that runs in the background, and a command that the daemon itself has to give up.
        await ws.shell("(i=0; while :; do i=$((i+1)); echo $i > beat; sleep 0.05; done) > /dev/null 2>&1 &")
        terminal = await ws.terminals.open("sh", name="mine")
        await terminal.write("printf 'sho%s\\n' wn\n")
        await shows(terminal, b"shown\r\n")
        (file,) = (bench.repository / ".nexus" / "state" / "terminals").glob(f"*/{terminal.id}.term")
        await until(lambda: bench.backend == "local" or b"shown" in file.read_bytes())
        before, program = ws.info, terminal.info.pid
        running = await ws.spawn("sh", "-c", "touch begun; sleep 1000")
        await until((ws.info.worktree_path / "begun").exists)

        os.kill(first.pid, signal.SIGKILL)
        await daemons.gone(first.pid)
        beat = (ws.info.worktree_path / "beat").read_text()
        await until(lambda: (ws.info.worktree_path / "beat").read_text() not in {beat, ""})  # it runs on, unattended
        second = await daemons.start(bench.flags)
        assert second.pid != first.pid

        assert (await nx.get("seat")).status == "running"
        assert (await nx.get("seat")).id == before.id
        assert (await running.wait()).exit_code is None  # it belonged to the daemon; its end was not seen
        if bench.backend == "local":
            await terminal.write("printf 'and %s\\n' again\n")
            assert b"new shell" not in await shows(terminal, b"and again\r\n")
            assert (terminal.info.pid, terminal.info.restored) == (program, None)
        else:
            await shows(terminal, b"[nexus: this is a new shell")  # and says so
            await terminal.write("printf 'and %s\\n' again\n")
            await shows(terminal, b"and again\r\n")
            async with ws.terminals.attach(terminal.id, role="viewer", replay="all") as late:
                assert b"shown" in await shows(late, b"and again\r\n")
        await terminal.detach()
        await ws.destroy(force=True)
    await nexus.stop_daemon(daemons.root, env=daemons.env)
    assert await leftovers(bench) == []
