"""What a client may do wrong, and what a connection may suffer: a typed answer or a clean close, never a crash, never a leak."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.daemon.daemon import Daemon
from nexus.errors import ConnectionLost
from nexus.wire.frames import Flag, Frame, Kind
from nexus.wire.limits import Limits
from tests.daemon.talking import Talker, eventually, served, stranger, talking
from tests.workbench import make_bench


@pytest.fixture
async def nx(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncGenerator[nexus.WorkspaceManager]:
    async with make_bench("mock", repository, tmp_path, request).open() as manager:
        yield manager


async def closed(client: Talker) -> None:
    """Return when the daemon has closed the connection."""
    with pytest.raises(ConnectionLost):
        await client.answer(-1)


async def still_well(daemon: Daemon) -> None:
    async with talking(daemon) as other:
        assert (await other.call("daemon.info"))["protocol"] == 1


async def test_ten_thousand_requests_at_once_are_all_answered(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon, talking(daemon) as client:
        async with anyio.create_task_group() as group:

            async def flood() -> None:
                for number in range(1000, 11_000):
                    await client.send(
                        json.dumps({"jsonrpc": "2.0", "id": number, "method": "daemon.info", "params": {}})
                    )

            group.start_soon(flood)
            while len(client.answers) < 10_000:
                await client.hear()
        outcomes = {
            "result" if "result" in answer else answer["error"]["data"]["code"] for answer in client.answers.values()
        }
        assert outcomes <= {"result", "BUSY"}
        assert "result" in outcomes


async def test_more_requests_than_are_allowed_are_told_to_come_again(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    async with served(nx, limits=Limits(in_flight=4)) as daemon, talking(daemon) as client:
        asked = [await client.ask("exec.run", workspace="one", argv=["sleep", "60"]) for _ in range(6)]
        busy = [(await client.answer(number))["error"]["data"] for number in asked[4:]]
        assert [(data["code"], data["retryable"]) for data in busy] == [("BUSY", True)] * 2
        for number in asked[:4]:
            await client.tell("$/cancelRequest", id=number)
            assert (await client.answer(number))["error"]["code"] == -32800


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([b""], id="no-header"),
        pytest.param([b"\x09" * 40], id="no-such-kind"),
        pytest.param([Frame(Kind.DATA, 0, 0, b"x").encode()], id="data-on-the-connection"),
        pytest.param([Frame(Kind.WINDOW, 0, 1 << 40).encode()], id="credit-for-what-was-never-sent"),
    ],
)
async def test_frames_that_break_the_rules_close_their_connection_only(
    nx: nexus.WorkspaceManager, frames: list[bytes]
) -> None:
    async with served(nx) as daemon:
        async with talking(daemon) as client:
            for frame in frames:
                await client.send(frame)
            await closed(client)
        await still_well(daemon)


@pytest.mark.parametrize("violation", ["beyond-credit", "gap", "skip", "short-end"])
async def test_input_that_breaks_the_rules_closes_the_connection(nx: nexus.WorkspaceManager, violation: str) -> None:
    await nx.create("one")
    async with served(nx) as daemon:
        async with talking(daemon) as client:
            started = await client.call("exec.start", workspace="one", argv=["sleep", "60"], stdin=True)
            stdin = started["streams"]["stdin"]
            piece = b"x" * 65_536
            sent = {
                "beyond-credit": [Frame(Kind.DATA, stdin, at * 65_536, piece) for at in range(12)],
                "gap": [Frame(Kind.DATA, stdin, 10, b"x")],
                "skip": [Frame(Kind.DATA, stdin, 10, flags=Flag.SKIP)],
                "short-end": [Frame(Kind.END, stdin, 10)],
            }[violation]
            with suppress(ConnectionLost):  # the daemon may have had enough before the last of them
                for frame in sent:
                    await client.send(frame.encode())
            await closed(client)
        await still_well(daemon)


async def test_frames_that_come_twice_are_taken_once(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    async with served(nx) as daemon, talking(daemon) as client:
        started = await client.call("exec.start", workspace="one", argv=["cat"], stdin=True)
        stdin = started["streams"]["stdin"]
        for frame in (
            Frame(Kind.DATA, stdin, 0, b"hello"),
            Frame(Kind.DATA, stdin, 0, b"hello"),
            Frame(Kind.DATA, stdin, 3, b"lo world"),
            Frame(Kind.END, stdin, 11),
        ):
            await client.send(frame.encode())
        assert await client.stream(started["streams"]["stdout"]) == b"hello world"


async def test_the_daemon_never_sends_beyond_its_credit(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    limits = Limits(stream_window=100_000)
    async with served(nx, limits=limits) as daemon, talking(daemon) as client:
        started = await client.call("exec.start", workspace="one", argv=["head", "-c", "5000000", "/dev/zero"])
        stdout = started["streams"]["stdout"]
        # An answer comes after everything that may be sent: so nothing more is under way.
        for _ in range(5):
            await client.call("daemon.info")
        assert sum(len(frame.payload) for frame in client.frames) <= 100_000
        assert len(await client.stream(stdout)) == 5_000_000


async def test_memory_stays_bounded_while_a_client_reads_nothing(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    async with served(nx) as daemon, talking(daemon) as client:
        started = await client.call("exec.start", workspace="one", argv=["head", "-c", "200000000", "/dev/zero"])
        command = daemon._open.hub.execs.find(started["exec"])
        await eventually(lambda: command.log.newest["stdout"] >= 500_000)
        for _ in range(10):
            await client.call("daemon.info")
        kept = command.log.newest["stdout"] - command.log.oldest["stdout"]
        assert kept <= Limits().scrollback
        assert command.log.newest["stdout"] <= Limits().scrollback  # the command waits: nobody has taken anything


async def test_a_client_that_never_takes_its_answers_is_read_no_more(nx: nexus.WorkspaceManager) -> None:
    """Its requests pile up at its own end, not in the daemon."""
    await nx.create("one")
    await nx.files(await nx.get("one")).write_text("f", "x" * 200_000)
    async with served(nx) as daemon, talking(daemon) as client:
        await client.call("fs.readFile", workspace="one", path="f")  # from now on no thread is waited for
        sent = 0
        async with anyio.create_task_group() as group:

            async def flood() -> None:
                nonlocal sent
                while True:
                    await client.transport.send(
                        json.dumps(
                            {
                                "jsonrpc": "2.0",
                                "id": sent + 100,
                                "method": "fs.readFile",
                                "params": {"workspace": "one", "path": "f"},
                            }
                        )
                    )
                    sent += 1

            group.start_soon(flood)
            await anyio.wait_all_tasks_blocked()
            (connection,) = daemon._open.connections
            assert sent < 500
            assert connection._writer._waiting < Limits().pending
            group.cancel_scope.cancel()


async def test_too_deep_too_many_and_too_often_are_told_and_the_connection_goes_on(
    nx: nexus.WorkspaceManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = await nx.create("one")
    await ws.fs.write_text("file", "x")
    async with served(nx, limits=Limits(depth=8, streams=2)) as daemon, talking(daemon) as client:
        deep = "[" * 9 + "]" * 9
        await client.send(f'{{"jsonrpc":"2.0","id":7,"method":"daemon.info","params":{{"x":{deep}}}}}')
        while None not in client.answers:
            await client.hear()
        assert client.answers.pop(None)["error"]["code"] == -32600
        params = {"workspace": "one", "argv": ["sleep", "60"]}
        await client.call("exec.start", **params)  # two streams
        error = await client.refused("exec.start", **params)
        assert (error["data"]["code"], error["data"]["details"]) == ("QUOTA_EXCEEDED", {"limit": 2})
        assert await client.call("daemon.info")
    monkeypatch.setattr("nexus.daemon.dispatch._BURST", 3.0)
    monkeypatch.setattr("nexus.daemon.dispatch._PER_SECOND", 1e-9)
    async with served(nx) as daemon, talking(daemon) as client:
        for _ in range(3):
            await client.call("daemon.info")
        error = await client.refused("daemon.info")
        assert (error["data"]["code"], error["data"]["retryable"]) == ("BUSY", True)
        async with talking(daemon) as other:  # each has their own measure
            assert await other.call("daemon.info")


async def test_nobody_gets_in_with_another_version(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon, stranger(daemon) as client:
        auth = {"token": daemon.issue_token()}
        error = await client.refused("initialize", protocol={"min": 7, "max": 9}, auth=auth)
        assert error["data"]["code"] == "VERSION_MISMATCH"
        assert error["data"]["details"] == {"client": [7, 9], "daemon": [1, 1]}
        await closed(client)


async def test_what_comes_before_a_token_is_refused_and_nothing_is_done(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon, stranger(daemon) as client:
        assert (await client.refused("workspace.create", spec={"name": "one"}))["code"] == -32002
        await client.tell("workspace.create", spec={"name": "one"})
        error = await client.refused("initialize")
        assert error["data"]["code"] == "UNAUTHENTICATED"
        await closed(client)
    assert await nx.list() == ()


async def test_scopes_and_workspaces_of_a_token(nx: nexus.WorkspaceManager, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("mine", "other"):
        await nx.create(name)
    async with served(nx) as daemon:
        reading = daemon.issue_token(scopes=["fs:read", "workspace:read"], workspaces=["mine"])
        async with talking(daemon, reading) as client:
            listed = await client.call("workspace.list")
            assert [item["name"] for item in listed["items"]] == ["mine"]
            await client.call("fs.readFile", workspace="mine", path="README.md")
            for method, params, missing in (
                ("fs.writeFile", {"workspace": "mine", "path": "a", "text": ""}, {"scope": "fs:write"}),
                ("exec.run", {"workspace": "mine", "argv": ["echo"]}, {"scope": "exec"}),
                ("workspace.destroy", {"workspace": "mine"}, {"scope": "workspace:write"}),
                ("fs.readFile", {"workspace": "other", "path": "README.md"}, {"workspace": "other"}),
                ("fs.readFile", {"workspace": "absent", "path": "README.md"}, {"workspace": "absent"}),
                ("workspace.rescues", {}, {"workspace": "*"}),
            ):
                error = await client.refused(method, **params)
                assert error["data"]["code"] == "SCOPE_DENIED", method
                assert error["data"]["details"] == {**missing, "subject": "embedded"}
                assert f"refused {method} of embedded from" in caplog.text, "who and what"
        assert not [part for part in reading.split(".")[1:] if part in caplog.text], "and no secret"


async def test_commands_of_other_workspaces_are_not_there(nx: nexus.WorkspaceManager) -> None:
    for name in ("mine", "other"):
        await nx.create(name)
    async with served(nx) as daemon, talking(daemon) as owner:
        started = await owner.call("exec.start", workspace="other", argv=["sleep", "60"])
        async with talking(daemon, daemon.issue_token(scopes=["exec"], workspaces=["mine"])) as client:
            assert await client.call("exec.list") == {"items": []}
            error = await client.refused("exec.signal", exec=started["exec"], signal=9)
            assert error["data"]["code"] == "NOT_FOUND"


async def test_a_command_is_found_and_gone_on_with_by_another_client(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with make_bench("local", repository, tmp_path, request).open() as nx, served(nx) as daemon:
        await nx.create("one")
        async with talking(daemon) as first:
            argv = ["sh", "-c", "printf 'hello '; read x; printf \"$x\"; exit 3"]
            started = await first.call(
                "exec.start", workspace="one", argv=argv, stdin=True, detach=True, labels={"a": "b"}
            )
            await first.send(Frame(Kind.DATA, started["streams"]["stdin"], 0, b"wor").encode())
            while sum(len(frame.payload) for frame in first.frames if frame.kind is Kind.DATA) < 6:
                await first.hear()
            await first.call("session.close")
        async with talking(daemon) as second:  # of another session
            (known,) = (await second.call("exec.list", workspace="one"))["items"]
            assert (known["exec"], known["running"], known["detached"]) == (started["exec"], True, True)
            assert (known["program"], known["labels"], known["stdout"]) == ("sh", {"a": "b"}, 6)
            again = await second.call("exec.attach", exec=known["exec"], offsets={"stdout": 4})
            assert (again["stdinOffset"], again["newest"]["stdout"]) == (3, 6)
            await second.send(Frame(Kind.DATA, again["streams"]["stdin"], 3, b"ld\n").encode())
            await second.notice("exec.didExit")
            pieces = [frame for frame in second.frames if frame.kind is Kind.DATA and frame.payload]
            assert pieces[0].offset == 4
            assert b"".join(frame.payload for frame in pieces) == b"o world"
            assert (await second.call("exec.wait", exec=known["exec"]))["exit"]["exitCode"] == 3
            await second.call("exec.release", exec=known["exec"])
            assert (await second.call("exec.list"))["items"] == []
        await nx.destroy("one", force=True)


async def test_a_revoked_token_ends_with_the_next_request(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon:
        issued = daemon.issue()
        async with talking(daemon, issued.token) as client:
            await client.call("workspace.list")
            daemon.tokens.revoke(issued.token_id)
            assert (await client.refused("workspace.list"))["data"]["code"] == "UNAUTHENTICATED"


async def test_a_session_is_not_lost_with_the_answer_that_brought_its_next_token(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon:
        token = daemon.issue_token()
        async with stranger(daemon) as first:
            hello = await first.greet(token)
        resume = {"sessionId": hello["sessionId"], "resumeToken": hello["resumeToken"]}
        auth, versions = {"token": token}, {"min": 1, "max": 1}
        for _ in range(3):  # cut before the answer was read, again and again
            async with stranger(daemon) as lost:
                await lost.call("initialize", protocol=versions, auth=auth, resume=resume)
        async with stranger(daemon) as again:
            back = await again.greet(token, resume=resume)
            assert (back["resumed"], back["sessionId"]) == (True, hello["sessionId"])
            assert await again.call("daemon.info")  # "initialized" has come by now
        async with stranger(daemon) as late:
            assert not (await late.greet(token, resume=resume))["resumed"]
        async with stranger(daemon) as newest:
            resume = {"sessionId": hello["sessionId"], "resumeToken": back["resumeToken"]}
            assert (await newest.greet(token, resume=resume))["resumed"]


async def test_a_session_is_resumed_once_and_only_by_its_owner(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon:
        token = daemon.issue_token()
        async with stranger(daemon) as first, stranger(daemon) as second, stranger(daemon) as third:
            hello = await first.greet(token)
            resume = {"sessionId": hello["sessionId"], "resumeToken": hello["resumeToken"]}
            async with stranger(daemon) as thief:
                theirs = await thief.greet(daemon.issue_token(subject="thief"), resume=resume)
                assert not theirs["resumed"]
            again = await second.greet(token, resume=resume)
            assert again["resumed"]
            assert again["sessionId"] == hello["sessionId"]
            await closed(first)  # replaced
            late = await third.greet(token, resume=resume)
            assert not late["resumed"]
            await second.call("daemon.info")


async def test_work_with_a_key_is_done_once(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon, talking(daemon) as client, talking(daemon) as other:
        spec = {"name": "one", "start": False}
        asked = await client.ask("workspace.create", spec=spec, idempotencyKey="k1")
        joined = await other.call("workspace.create", spec=spec, idempotencyKey="k1")
        assert (await client.answer(asked))["result"]["id"] == joined["id"]
        assert (await client.call("workspace.create", spec=spec, idempotencyKey="k1"))["id"] == joined["id"]
        error = await client.refused("workspace.create", spec={"name": "two"}, idempotencyKey="k1")
        assert error["data"]["code"] == "CONFLICT"
        error = await client.refused("workspace.create", spec=spec)
        assert error["data"]["code"] == "ALREADY_EXISTS"


async def test_a_deadline_ends_the_work(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    async with served(nx) as daemon, talking(daemon) as client:
        error = await client.refused("exec.run", workspace="one", argv=["sleep", "60"], _meta={"timeoutMs": 50})
        assert error["data"]["code"] == "OPERATION_TIMEOUT"


async def test_whatever_is_left_when_a_connection_breaks_is_ended(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    async with served(nx, limits=Limits(session_grace_ms=20)) as daemon:
        for _ in range(30):
            async with talking(daemon) as client:
                await client.call("exec.start", workspace="one", argv=["sleep", "600"])
                await client.call("fs.openWrite", workspace="one", path="half")
                await client.call("events.subscribe")
                await client.ask("exec.run", workspace="one", argv=["sleep", "600"])
        hub = daemon._open.hub
        await eventually(lambda: not (hub.connections or len(hub.sessions) or hub.execs.all()))
        assert hub.events.outlets == set()
    tree = (await nx.get("one")).worktree_path
    assert not [path.name for path in tree.iterdir() if "half" in path.name or path.name.startswith(".nexus")]


async def test_any_messages_whatever_leave_the_daemon_well(
    nx: nexus.WorkspaceManager, caplog: pytest.LogCaptureFixture
) -> None:
    await nx.create("one")
    chance = random.Random(1)
    async with served(nx) as daemon:
        for _ in range(60):
            async with stranger(daemon) as client:
                if chance.random() < 0.8:
                    await client.greet(daemon.issue_token())
                try:
                    for _ in range(8):
                        await client.send(_noise(chance))
                except ConnectionLost:
                    pass
        await still_well(daemon)
    assert not [record for record in caplog.records if record.exc_info]


def _noise(chance: random.Random) -> str | bytes:
    good: list[str | bytes] = [
        json.dumps(
            {"jsonrpc": "2.0", "id": 7, "method": "exec.start", "params": {"workspace": "one", "argv": ["cat"]}}
        ),
        json.dumps(
            {"jsonrpc": "2.0", "id": 8, "method": "exec.attach", "params": {"exec": "x", "offsets": {"stdout": 5}}}
        ),
        json.dumps({"jsonrpc": "2.0", "id": 9, "method": "fs.scan", "params": {"workspace": "one", "cursor": "x"}}),
        json.dumps({"jsonrpc": "2.0", "id": 10, "method": "fs.commit", "params": {"workspace": "one", "size": 3}}),
        json.dumps({"jsonrpc": "2.0", "id": 11, "method": "events.subscribe", "params": {"since": 999}}),
        json.dumps({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 7}}),
        Frame(Kind.DATA, 1, 0, b"hello").encode(),
        Frame(Kind.WINDOW, 1, 0).encode(),
        Frame(Kind.RESET, 2, 0, b"x").encode(),
        Frame(Kind.END, 3, 0).encode(),
    ]
    message = chance.choice(good)
    raw = bytearray(message.encode() if isinstance(message, str) else message)
    for _ in range(chance.choice([0, 0, 1, 3])):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    return raw.decode("utf-8", "replace") if isinstance(message, str) else bytes(raw)
