from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread

import nexus
from nexus.daemon.framing import Unframer, framed
from nexus.daemon.stdio import StdioTransport, open_stdio
from nexus.errors import ConnectionLost, NexusError, ProtocolError
from tests.daemon.talking import Talker
from tests.serving.conftest import Daemons

LOCAL = {"backend": "local"}


@pytest.mark.slow
async def test_an_editor_talks_over_its_pipes(daemons: Daemons) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli_example", "--backend", "local", "daemon", "stdio", "--project", str(daemons.root)],
        env=daemons.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    unframer = Unframer()
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(id: int, method: str, **params: object) -> Any:  # noqa: A002
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})))
        process.stdin.flush()
        while (message := unframer.take()) is None:
            data = process.stdout.read1(65536)  # type: ignore[attr-defined] # it is buffered
            assert data, process.stderr.read() if process.stderr else b""
            unframer.feed(data)
        return json.loads(message)

    def talk() -> None:
        early = ask(1, "workspace.list")
        assert early["error"]["code"] == -32002
        assert ask(2, "initialize", protocol={"min": 1, "max": 1})["result"]["subject"] == "stdio"
        assert ask(3, "workspace.list")["result"]["items"] == []

    try:
        await to_thread.run_sync(talk)
        _, said = await to_thread.run_sync(process.communicate)
        assert process.returncode == 0
        assert said == b""
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def editor(daemons: Daemons, outcome: list[NexusError | None], **options: Any) -> AsyncGenerator[Talker, None]:
    """Be the editor at the other end of ``serve_stdio``'s pipes, and tell how that ended."""
    here, there = os.pipe(), os.pipe()

    async def serve() -> None:
        try:
            await nexus.serve_stdio(
                daemons.root, flags=LOCAL, env=daemons.env, reading=there[0], writing=here[1], **options
            )
        except NexusError as error:
            outcome.append(error)
        else:
            outcome.append(None)
        finally:
            os.close(there[0])
            os.close(here[1])

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            async with open_stdio(here[0], there[1]) as transport:
                yield Talker(transport)
            os.close(there[1])
    finally:
        os.close(here[0])


async def test_messages_are_carried_to_the_daemon_that_runs(daemons: Daemons) -> None:
    outcome: list[NexusError | None] = []
    async with daemons.here() as (found, _):
        async with editor(daemons, outcome) as talker:
            hello = await talker.greet(None)
            assert (hello["subject"], hello["resumed"]) == ("stdio", False)
            assert (await talker.call("daemon.info"))["connections"] == 1
            await talker.call("workspace.create", spec={"name": "a"})
            started = await talker.call("exec.start", workspace="a", argv=["cat"], stdin=True)
            streams = started["streams"]
            assert set(streams) == {"stdin", "stdout", "stderr"}
            await talker.call("exec.closeStdin", exec=started["exec"])
            assert await talker.stream(streams["stdout"]) == b""  # binary messages pass as well
        assert outcome == [None]
        async with daemons.talking(found) as other:  # there is one place where everything is looked after
            (known,) = (await other.call("exec.list"))["items"]
            assert known["program"] == "cat"
            await other.call("workspace.destroy", workspace="a", force=True)
        assert "comes in as stdio" in daemons.log


async def test_the_end_of_the_daemon_is_an_error_that_the_editor_sees(daemons: Daemons) -> None:
    outcome: list[NexusError | None] = []
    async with daemons.here() as (_, serving), editor(daemons, outcome) as talker:
        await talker.greet(None)
        serving.stop()
        with pytest.raises(ConnectionLost):
            await talker.hear()
    assert [type(each) for each in outcome] == [ConnectionLost]


async def test_what_is_no_message_ends_it(daemons: Daemons) -> None:
    outcome: list[NexusError | None] = []
    async with daemons.here(), editor(daemons, outcome) as talker:
        await talker.greet(None)
        assert isinstance(talker.transport, StdioTransport)
        talker.transport._writer.write(b"Content-Length: 99999999\r\n\r\n")
        with pytest.raises(ConnectionLost):
            await talker.hear()
    assert [type(each) for each in outcome] == [ProtocolError]


async def test_it_serves_by_itself_where_it_is_told_to_or_has_other_settings(daemons: Daemons) -> None:
    for more, other in (({"alone": True}, {}), ({}, {"env.A": "b"})):
        outcome: list[NexusError | None] = []
        async with daemons.here(other), editor(daemons, outcome, **more) as talker:
            assert (await talker.greet(None))["subject"] == "stdio"
            assert (await talker.call("daemon.info"))["connections"] == 1
        assert outcome == [None]
    assert daemons.log.count("comes in") == daemons.log.count("stdio comes in") == 2  # never over the daemon's socket
