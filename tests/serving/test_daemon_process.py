"""The daemon as a process: started, found, alone, told to stop, killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.daemon.launch import end, start_background
from nexus.errors import Busy, OperationTimeout
from nexus.models.workspace import ProcessState
from nexus.processes import boot_id, identify
from nexus.serving.controlling import stop_daemon
from nexus.serving.finding import find_daemon
from tests.serving.conftest import Daemons

pytestmark = pytest.mark.slow


async def test_a_life(daemons: Daemons) -> None:
    assert await find_daemon(daemons.root, env=daemons.env) is None
    started = await daemons.start()
    found = await find_daemon(daemons.root / "src", env=daemons.env)

    assert found == started
    assert await daemons.subject(found) == "local"
    stopped = await stop_daemon(daemons.root, env=daemons.env)
    assert stopped == started
    assert await find_daemon(daemons.root, env=daemons.env) is None
    assert await stop_daemon(daemons.root, env=daemons.env) is None
    assert not daemons.places.socket.exists()
    assert not daemons.places.announcement.exists()
    assert "stopping" in daemons.log
    assert daemons.log.rstrip().endswith("info stopped")


async def test_it_belongs_to_nobody_and_holds_nothing_of_who_started_it(daemons: Daemons) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    found = await daemons.start()
    os.close(writing)
    fields = Path(f"/proc/{found.pid}/stat").read_text().rpartition(")")[2].split()
    parent, session = int(fields[1]), int(fields[3])

    assert os.read(reading, 1) == b""  # nobody holds the other end
    os.close(reading)
    assert parent != os.getpid()
    assert session not in {os.getsid(0), found.pid}
    for descriptor in (0, 1, 2):
        assert Path(f"/proc/{found.pid}/fd/{descriptor}").readlink() == Path(os.devnull)
    assert Path(f"/proc/{found.pid}/cwd").readlink() == Path("/")


async def test_of_two_that_start_together_one_wins(daemons: Daemons) -> None:
    outcomes: list[object] = []

    async def start() -> None:
        try:
            outcomes.append(await daemons.start())
        except Busy as error:
            outcomes.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(start)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Announcement", "Busy"]
    found = daemons.announced()
    assert found is not None
    assert found in outcomes
    assert await daemons.subject(found) == "local"


async def test_one_that_was_killed_is_followed_by_another_that_finds_everything(daemons: Daemons) -> None:
    first = await daemons.start()
    async with nexus.open(daemons.root, flags={"backend": "local"}) as nx:
        await nx.create("a")
    os.kill(first.pid, signal.SIGKILL)
    await daemons.gone(first.pid)
    assert daemons.places.announcement.exists()
    assert daemons.announced() is None
    second = await daemons.start()

    async with daemons.talking(second) as client:
        assert [item["name"] for item in (await client.call("workspace.list"))["items"]] == ["a"]
    async with nexus.open(daemons.root, flags={"backend": "local"}) as nx:
        assert (await nx.get("a")).status == "running"
        await nx.destroy("a", force=True)


async def test_a_process_that_does_not_end_in_time_is_named() -> None:
    async with await anyio.open_process(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]
    ) as stubborn:
        assert stubborn.stdout is not None
        await stubborn.stdout.receive()
        process = identify(stubborn.pid)
        assert process is not None
        with pytest.raises(OperationTimeout, match=f"process {stubborn.pid}"):
            await end(process, timeout=0.1)
        stubborn.kill()


async def test_another_process_with_its_number_is_not_ended() -> None:
    sleeper = await anyio.open_process(["sleep", "300"])
    await end(ProcessState(pid=sleeper.pid, start_time=1, boot_id=boot_id()), timeout=1)
    assert sleeper.returncode is None
    sleeper.kill()
    await sleeper.wait()


async def test_one_that_is_not_ready_in_time_is_ended(daemons: Daemons) -> None:
    with pytest.raises(OperationTimeout):
        await start_background(daemons.root, module="nexus.serving", env=daemons.env, timeout=0.01)
    found = await daemons.start()  # nobody is in the way for long
    assert await daemons.subject(found) == "local"
