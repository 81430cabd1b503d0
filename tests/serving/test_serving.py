"""What a daemon does while it serves, looked at from the same process."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

import nexus
from nexus.daemon.tokens import DEFAULT_LIFE, GRACE
from nexus.errors import Busy, ConfigError, ExecStartError, NexusError, NotARepository, PortInUse, StateError
from nexus.serving.controlling import stop_daemon
from nexus.serving.finding import find_daemon
from nexus.serving.process import Serving
from nexus.serving.tokens import daemon_tokens
from nexus.state.clock import SystemClock
from nexus.testing.clock import ManualClock
from tests.daemon.conftest import Certificate, certify, until
from tests.daemon.talking import Talker
from tests.serving.conftest import Daemons, greeted, over_tcp

__all__ = ["certify"]


async def test_there_is_only_one(daemons: Daemons) -> None:
    async with daemons.here() as (first, _):
        with pytest.raises(ExceptionGroup) as caught:
            async with daemons.here():
                pass
        assert await daemons.subject(first) == "local"

    error = only(caught.value)
    assert isinstance(error, Busy)
    assert f"runs already: process {os.getpid()}" in error.message
    assert error.details["pid"] == os.getpid()


async def test_what_it_writes_is_for_its_user_alone(daemons: Daemons) -> None:
    async with daemons.here() as (found, _):
        assert found.log is not None
        for path in (daemons.places.announcement, found.log, found.log.with_name("keys.json"), daemons.places.socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        for folder in (daemons.places.announcement.parent, found.log.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        written = json.loads(daemons.places.announcement.read_text())
    assert written["protocol"] == 1
    assert written["pid"] == os.getpid()
    assert written["socket"] == str(daemons.places.socket)
    assert written["workspaceFolders"] == [str(daemons.root)]
    assert written["token"] not in repr(found)


async def test_a_note_of_another_boot_or_of_a_number_used_again_counts_not(daemons: Daemons) -> None:
    async with daemons.here() as (found, _):
        written = json.loads(daemons.places.announcement.read_text())
        for change in ({"startTime": 1}, {"bootId": "another"}, {"pid": 1}):
            daemons.places.announcement.write_text(json.dumps({**written, **change}))
            assert daemons.announced() is None
        daemons.places.announcement.write_text(json.dumps({**written, "more": "of a newer release"}))
        assert await find_daemon(daemons.root, env=daemons.env) == found
        daemons.places.announcement.write_text("{")
        assert await find_daemon(daemons.root, env=daemons.env) is None
        assert await stop_daemon(daemons.root, env=daemons.env) is None


async def test_the_token_of_the_announcement_is_renewed(daemons: Daemons) -> None:
    daemons.clock = clock = ManualClock()
    async with daemons.here() as (first, _):
        second = first
        while second.token == first.token:
            clock.advance(DEFAULT_LIFE / 60)
            await anyio.sleep(0.005)
            second = daemons.announced() or first
        assert second.expires_at > first.expires_at
        clock.jump(first.expires_at - clock.now() + GRACE)
        with pytest.raises(InvalidStatus):
            await daemons.subject(first)
        assert await daemons.subject(second) == "local"


@pytest.fixture
async def fifo(daemons: Daemons) -> AsyncGenerator[Path, None]:
    """A workspace ``a`` with a pipe in it, which a command waits for."""
    async with nexus.open(daemons.root, flags={"backend": "local"}) as nx:
        made = await nx.create("a")
        os.mkfifo(made.info.worktree_path / "fifo")
        yield made.info.worktree_path / "fifo"
        await nx.destroy("a", force=True)


async def waits(client: Talker) -> int:
    """Begin a request that waits for the pipe, and return its number once it does."""
    asked = await client.ask("exec.run", workspace="a", argv=["sh", "-c", "touch begun; cat fifo"])
    while (await client.answer(await client.ask("fs.stat", workspace="a", path="begun"))).get("error"):
        pass
    return asked


async def test_it_ends_when_nobody_finds_it_any_more_and_leaves_its_follower_alone(daemons: Daemons) -> None:
    daemons.clock = clock = ManualClock()
    async with daemons.here():
        for path in (daemons.places.socket, daemons.places.lock, daemons.places.announcement):
            path.unlink()
        daemons.clock = SystemClock()
        async with daemons.here() as (second, _):
            while "info stopped" not in daemons.log:
                clock.advance(60)
                await anyio.sleep(0.005)
            assert "nobody can connect any more" in daemons.log
            assert await daemons.subject(second) == "local"


async def test_a_token_that_is_taken_back_ends_its_connections(daemons: Daemons) -> None:
    daemons.clock = clock = ManualClock()
    tokens = await daemon_tokens(daemons.root, env=daemons.env, clock=clock)
    one, other = (tokens.issue(subject=name, scopes=["exec"]) for name in ("one", "other"))
    async with (
        daemons.here() as (found, _),
        daemons.talking(found, one.token) as client,
        daemons.talking(found, other.token) as friend,
    ):
        tokens.revoke(one.token_id)
        assert (await client.refused("workspace.list"))["data"]["code"] == "UNAUTHENTICATED"
        while client.plain.close_code is None:
            clock.advance(5)
            await anyio.sleep(0.005)
        assert client.plain.close_code == 4001
        assert (await friend.refused("workspace.list"))["data"]["code"] == "SCOPE_DENIED"


async def test_requests_that_are_under_way_may_end(daemons: Daemons, fifo: Path) -> None:
    async with (
        daemons.here({"daemon.drain": "60s"}) as (found, serving),
        daemons.talking(found) as one,
        daemons.talking(found) as other,
    ):
        asked = await waits(one)
        await serving.signalled(signal.SIGTERM)
        await until(lambda: not daemons.places.announcement.exists())
        with pytest.raises((OSError, InvalidHandshake)):
            await daemons.subject(found)
        assert (await other.refused("workspace.list"))["data"]["code"] == "DAEMON_UNAVAILABLE"
        with fifo.open("w") as pipe:
            pipe.write("done")
        assert (await one.answer(asked))["result"]["stdout"]["text"] == "done"
        with pytest.raises(ConnectionClosed):
            await one.hear()
        assert one.plain.close_code == 4005
    assert "cancelled" not in daemons.log
    assert daemons.log.rstrip().endswith("info stopped")


@pytest.mark.parametrize("drain", ["1ms", "60s"])
async def test_what_does_not_end_is_ended(daemons: Daemons, fifo: Path, drain: str) -> None:
    """In time, or when it is told again."""
    async with daemons.here({"daemon.drain": drain}) as (found, serving), daemons.talking(found) as one:
        await waits(one)
        serving.stop()
        if drain == "60s":
            serving.stop()
        with pytest.raises(ConnectionClosed):
            await one.hear()
    assert not daemons.places.socket.exists()
    assert not daemons.places.announcement.exists()


async def test_settings_are_read_again(daemons: Daemons) -> None:
    user = daemons.home / ".nexus" / "config.yaml"
    user.parent.mkdir()
    async with daemons.here() as (found, serving):
        user.write_text("defaults: {idle_timeout: soon}\n")
        await serving.signalled(signal.SIGHUP)
        await daemons.logged("the settings were not read again")
        assert await daemons.subject(found) == "local"
        user.write_text("defaults: {idle_timeout: 1h}\n")
        await serving.signalled(signal.SIGHUP)
        await daemons.logged("info the settings were read again")
        assert await daemons.subject(found) == "local"


async def test_workspaces_go_by_settings_that_were_read_again(daemons: Daemons) -> None:
    """And ``boulder`` finds that the daemon does again as it would itself."""
    user = daemons.home / ".nexus" / "config.yaml"
    user.parent.mkdir()
    flags: dict[str, JsonValue] = {"backend": "local"}
    async with daemons.here() as (found, serving):
        assert await nexus.matching_daemon(daemons.root, flags=flags, env=daemons.env)
        user.write_text("defaults: {idle_timeout: 7m}\n")
        assert not await nexus.matching_daemon(daemons.root, flags=flags, env=daemons.env)
        await serving.signalled(signal.SIGHUP)
        await daemons.logged("info the settings were read again")
        now = await nexus.matching_daemon(daemons.root, flags=flags, env=daemons.env)
        assert now is not None
        assert now.process == found.process
        async with daemons.talking(now) as client:
            assert (await client.call("config.get", key="defaults.idle_timeout"))["value"] == "7m"
            await client.call("workspace.create", spec={"name": "a"})
            assert "sleeps in 7m" in str((await client.call("workspace.get", workspace="a"))["awakeBecause"])
            await client.call("workspace.destroy", workspace="a", force=True)


async def test_settings_that_are_decided_on_opening_take_a_restart(daemons: Daemons, tmp_path: Path) -> None:
    user = daemons.home / ".nexus" / "config.yaml"
    user.parent.mkdir()
    async with daemons.here() as (found, serving), daemons.talking(found) as client:
        await client.call("workspace.create", spec={"name": "a"})
        user.write_text("defaults: {idle_timeout: 7m}\nbackends: {local: {pids_limit: 99}}\n")
        await serving.signalled(signal.SIGHUP)
        await daemons.logged("stay as they are: backends.local changed, which takes a restart")
        assert (await client.call("config.get", key="defaults.idle_timeout"))["value"] == "30m"
        await client.call("workspace.destroy", workspace="a", force=True)


async def test_a_client_with_the_scope_for_it_stops_the_daemon(daemons: Daemons) -> None:
    async with daemons.here() as (found, _), daemons.talking(found) as client:
        tokens = await daemon_tokens(daemons.root, env=daemons.env)
        less = tokens.issue(subject="ann", scopes=["workspace:write", "config"])
        some = tokens.issue(subject="ann", scopes=["admin"], workspaces=["a"])
        for issued in (less, some):
            async with daemons.talking(found, issued.token) as other:
                assert (await other.refused("daemon.shutdown"))["data"]["code"] == "SCOPE_DENIED"
        assert await client.call("daemon.shutdown") == {}
        with pytest.raises(ConnectionClosed):
            await client.hear()
        assert client.plain.close_code == 4005
    assert "local tells the daemon to stop" in daemons.log
    assert daemons.log.rstrip().endswith("info stopped")


async def test_a_new_certificate_holds_from_the_next_connection_on(
    daemons: Daemons, free_port: int, certify: Callable[[str], Certificate]
) -> None:
    own, next_one = certify("own"), certify("next")
    flags: dict[str, JsonValue] = {
        "daemon.port": free_port,
        "daemon.tls.cert": str(own.cert),
        "daemon.tls.key": str(own.key),
    }
    async with daemons.here(flags) as (found, serving):
        assert found.url == f"wss://127.0.0.1:{free_port}"
        await _greeted(found.url, found.token, own)
        own.cert.write_bytes(next_one.cert.read_bytes())
        await serving.signalled(signal.SIGHUP)
        await daemons.logged("the settings were not read again, and stay as they are: the certificate")
        own.key.write_bytes(next_one.key.read_bytes())
        await serving.signalled(signal.SIGHUP)
        await daemons.logged("info the settings were read again")
        await _greeted(found.url, found.token, next_one)


async def _greeted(url: str, token: str, trusted: Certificate) -> None:
    async with over_tcp(url, token, ssl=trusted.trusting()) as connection:
        assert (await greeted(connection)).subject == "local"


async def test_tokens_of_this_user_hold_and_can_be_taken_back_from_outside(daemons: Daemons) -> None:
    tokens = await daemon_tokens(daemons.root, env=daemons.env)
    before = tokens.issue(subject="ann", scopes=["exec"])
    async with daemons.here() as (found, _):
        assert await daemons.subject(found, before.token) == "ann"
        tokens.revoke(before.token_id)
        with pytest.raises(InvalidStatus):
            await daemons.subject(found, before.token)
        assert await daemons.subject(found) == "local"
        tokens.rotate(forget=True)
        with pytest.raises(InvalidStatus):
            await daemons.subject(found)

    for secret in (before.token, found.token):
        assert secret not in daemons.log
    assert f"comes in as ann with token {before.token_id}" in daemons.log
    assert "the token was revoked" in daemons.log


async def test_it_listens_on_a_port_as_well(daemons: Daemons, free_port: int) -> None:
    async with daemons.here({"daemon.port": free_port}) as (found, _):
        assert found.url == f"ws://127.0.0.1:{free_port}"
        async with await anyio.connect_tcp("127.0.0.1", free_port) as plain:
            await plain.send(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert (await plain.receive()).startswith(b"HTTP/1.1 421 ")
        assert await daemons.subject(found) == "local"


async def test_why_it_does_not_start(daemons: Daemons, free_port: int, tmp_path: Path) -> None:
    async def refusal(**flags: str | int) -> NexusError:
        with pytest.raises(ExceptionGroup) as caught:
            async with daemons.here({f"daemon.{name.replace('__', '.')}": value for name, value in flags.items()}):
                pass
        error = only(caught.value)
        assert isinstance(error, NexusError)
        return error

    assert "'daemon.drain'" in (await refusal(drain="soon")).message
    exposed = await refusal(host="0.0.0.0", port=free_port)
    assert isinstance(exposed, ConfigError)
    assert "without encryption" in exposed.message
    assert "daemon.insecure" in str(exposed.hint)
    missing = await refusal(tls__cert="/nowhere/c.pem", tls__key="/nowhere/k.pem")
    assert "cannot be read: No such file" in missing.message
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        assert isinstance(await refusal(port=free_port), PortInUse)
    assert daemons.announced() is None
    assert not daemons.places.socket.exists()
    daemons.places.socket.parent.chmod(0o755)
    assert isinstance(await refusal(), StateError)
    with pytest.raises(NotARepository):
        await Serving(tmp_path, env=daemons.env).run()


async def test_with_a_word_of_the_user_it_listens_for_others_unencrypted(daemons: Daemons, free_port: int) -> None:
    async with daemons.here({"daemon.host": "0.0.0.0", "daemon.port": free_port, "daemon.insecure": True}) as (
        found,
        _,
    ):
        assert found.url == f"ws://127.0.0.1:{free_port}"
    assert "other machines" in daemons.log


def only(group: BaseExceptionGroup) -> BaseException:
    """The one error in it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        assert len(error.exceptions) == 1
        error = error.exceptions[0]
    return error


async def test_what_a_client_sends_and_a_program_prints_is_not_in_the_log(daemons: Daemons) -> None:
    """A log outlives its lines' reason: no argument, variable, input, output or file of a workspace is ever in it."""
    canary = f"canary-{os.urandom(8).hex()}"
    async with daemons.here() as (found, _), nexus.connect(str(found.socket), token=found.token) as remote:
        ws = await remote.create("one")
        done = await ws.exec("sh", "-c", f"echo $WORD {canary}; cat >&2", env={"WORD": canary}, input=canary)
        assert done.stdout == f"{canary} {canary}\n"
        await ws.fs.write_text("note", canary)
        with pytest.raises(ExecStartError):
            await ws.exec(f"no-such-{canary}")
        await ws.destroy(force=True)
    assert "comes in" in daemons.log
    assert canary not in daemons.log
