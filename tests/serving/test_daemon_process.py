"""The daemon as a process: started, found, alone, told to stop, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path

import anyio
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

import nexus
from nexus.daemon.launch import end, start_background
from nexus.errors import Busy, ConfigError, DaemonUnavailable, NotARepository, OperationTimeout, PortInUse, StateError
from nexus.models.workspace import ProcessState
from nexus.processes import boot_id
from nexus.serving.finding import daemon_tokens, find_daemon, stop_daemon
from tests.serving.conftest import Daemons, answer, said

pytestmark = pytest.mark.slow


async def test_a_life(daemons: Daemons) -> None:
    assert await find_daemon(daemons.root, env=daemons.env) is None
    started = await daemons.start()
    found = await find_daemon(daemons.root / "src", env=daemons.env)

    assert found == started
    assert await daemons.ask(found, "hi") == ["hello local", "hi"]
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


async def test_what_it_writes_is_for_its_user_alone(daemons: Daemons) -> None:
    found = await daemons.start()
    assert found.log is not None
    for path in (daemons.places.announcement, found.log, found.log.with_name("keys.json"), daemons.places.socket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (daemons.places.announcement.parent, found.log.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    written = json.loads(daemons.places.announcement.read_text())
    assert written["protocol"] == 1
    assert written["pid"] == found.pid
    assert written["socket"] == str(daemons.places.socket)
    assert written["workspaceFolders"] == [str(daemons.root)]
    assert written["token"] not in repr(found)


async def test_there_is_only_one(daemons: Daemons) -> None:
    first = await daemons.start()
    with pytest.raises(Busy, match=f"runs already: process {first.pid}") as caught:
        await daemons.start()

    assert caught.value.details["pid"] == first.pid
    assert await daemons.ask(first) == ["hello local"]


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
    assert await daemons.ask(found) == ["hello local"]


async def test_one_that_was_killed_is_followed_by_another_that_finds_everything(daemons: Daemons) -> None:
    first = await daemons.start()
    async with nexus.open(daemons.root, flags={"backend": "local"}) as nx:
        await nx.create("a")
    os.kill(first.pid, signal.SIGKILL)
    await daemons.gone(first.pid)
    assert daemons.places.announcement.exists()
    assert daemons.announced() is None
    second = await daemons.start()

    assert await daemons.ask(second, "list") == ["hello local", "a"]
    async with nexus.open(daemons.root, flags={"backend": "local"}) as nx:
        assert (await nx.get("a")).status == "running"
        await nx.destroy("a", force=True)


async def test_a_note_of_another_boot_or_of_a_number_used_again_counts_not(daemons: Daemons) -> None:
    found = await daemons.start()
    written = json.loads(daemons.places.announcement.read_text())
    for change in ({"startTime": 1}, {"bootId": "another"}, {"pid": os.getpid()}):
        daemons.places.announcement.write_text(json.dumps({**written, **change}))
        assert daemons.announced() is None
    daemons.places.announcement.write_text(json.dumps({**written, "more": "of a newer release"}))
    assert daemons.announced() == found
    daemons.places.announcement.write_text("{")
    assert daemons.announced() is None
    assert await stop_daemon(daemons.root, env=daemons.env) is None
    await end(found.process, timeout=30)


async def test_requests_that_are_under_way_may_end(daemons: Daemons) -> None:
    found = await daemons.start({"daemon.drain": "60s"})
    async with daemons.connect(found) as one, daemons.connect(found) as other:
        await said(one)
        await said(other)
        await answer(one, "slow")
        os.kill(found.pid, signal.SIGTERM)
        while daemons.places.announcement.exists():  # noqa: ASYNC110
            await anyio.sleep(0.02)
        with pytest.raises((OSError, InvalidStatus)):
            await daemons.ask(found)
        assert await answer(other, "still here") == "still here"
        await answer(other, "done")
        with pytest.raises(ConnectionClosed):
            await one.recv()
    await daemons.gone(found.pid)
    assert "cancelled" not in daemons.log


@pytest.mark.parametrize("twice", [False, True])
async def test_what_does_not_end_is_ended(daemons: Daemons, twice: bool) -> None:
    found = await daemons.start({"daemon.drain": "60s" if twice else "1ms"})
    async with daemons.connect(found) as one:
        await said(one)
        await answer(one, "slow")
        for _ in range(1 + twice):
            os.kill(found.pid, signal.SIGTERM)
            while daemons.places.announcement.exists():  # noqa: ASYNC110
                await anyio.sleep(0.02)
        with pytest.raises(ConnectionClosed):
            await one.recv()
    await daemons.gone(found.pid)
    assert not daemons.places.socket.exists()


async def test_a_daemon_that_does_not_end_in_time_is_named(daemons: Daemons) -> None:
    found = await daemons.start({"daemon.drain": "60s"})
    async with daemons.connect(found) as one:
        await said(one)
        await answer(one, "slow")
        with pytest.raises(OperationTimeout, match=f"process {found.pid}"):
            await end(found.process, timeout=0.1)


async def test_another_process_with_its_number_is_not_ended() -> None:
    sleeper = await anyio.open_process(["sleep", "300"])
    await end(ProcessState(pid=sleeper.pid, start_time=1, boot_id=boot_id()), timeout=1)
    assert sleeper.returncode is None
    sleeper.kill()
    await sleeper.wait()


async def test_why_it_does_not_start(daemons: Daemons, free_port: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"daemon\.drain"):
        await daemons.start({"daemon.drain": "soon"})
    with pytest.raises(ConfigError, match="without encryption") as exposed:
        await daemons.start({"daemon.host": "0.0.0.0", "daemon.port": free_port})
    assert "daemon.insecure" in str(exposed.value.hint)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        await daemons.start({"daemon.tls.cert": "/nowhere/c.pem", "daemon.tls.key": "/nowhere/k.pem"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(PortInUse, match=f"127.0.0.1 port {free_port}"):
            await daemons.start({"daemon.port": free_port})
    with pytest.raises(DaemonUnavailable, match=r"No module named tests\.serving\.missing"):
        await daemons.start(module="tests.serving.missing")
    with pytest.raises(NotARepository):
        await start_background(tmp_path, module="tests.serving.echo_daemon", env=daemons.env)
    assert daemons.announced() is None
    assert not daemons.places.socket.exists()
    daemons.places.socket.parent.chmod(0o755)
    with pytest.raises(StateError, match="open to other users"):
        await daemons.start()


async def test_one_that_is_not_ready_in_time_is_ended(daemons: Daemons) -> None:
    with pytest.raises(OperationTimeout):
        await start_background(daemons.root, module="tests.serving.echo_daemon", env=daemons.env, timeout=0.01)
    found = await daemons.start()  # nobody is in the way for long
    assert await daemons.ask(found) == ["hello local"]


async def test_settings_are_read_again(daemons: Daemons, tmp_path: Path) -> None:
    user = daemons.home / ".nexus" / "config.yaml"
    found = await daemons.start()
    user.parent.mkdir(exist_ok=True)
    user.write_text("defaults: {idle_timeout: soon}\n")
    os.kill(found.pid, signal.SIGHUP)
    await _logged(daemons, "the settings were not read again")
    assert await daemons.ask(found) == ["hello local"]
    user.write_text("defaults: {idle_timeout: 1h}\n")
    os.kill(found.pid, signal.SIGHUP)
    await _logged(daemons, "info the settings were read again")
    assert await daemons.ask(found) == ["hello local"]


async def test_tokens_of_this_user_hold_and_can_be_taken_back_from_outside(daemons: Daemons) -> None:
    tokens = await daemon_tokens(daemons.root, env=daemons.env)
    before = tokens.issue(subject="ann", scopes=["exec"])
    found = await daemons.start()
    async with daemons.connect(found, before.token) as connection:
        assert await said(connection) == "hello ann"
    tokens.revoke(before.token_id)
    with pytest.raises(InvalidStatus):
        await daemons.connect(found, before.token)
    assert await daemons.ask(found) == ["hello local"]
    tokens.rotate(forget=True)
    with pytest.raises(InvalidStatus):
        await daemons.ask(found)

    for secret in (before.token, found.token):
        assert secret not in daemons.log
    assert f"comes in as ann with token {before.token_id}" in daemons.log
    assert "the token was revoked" in daemons.log


async def test_it_listens_on_a_port_as_well(daemons: Daemons, free_port: int) -> None:
    found = await daemons.start({"daemon.port": free_port})
    assert found.url == f"ws://127.0.0.1:{free_port}"
    with socket.create_connection(("127.0.0.1", free_port), timeout=30) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert plain.recv(1000).startswith(b"HTTP/1.1 421 ")
    assert await daemons.ask(found) == ["hello local"]


async def _logged(daemons: Daemons, text: str) -> None:
    while text not in daemons.log:  # noqa: ASYNC110
        await anyio.sleep(0.02)
