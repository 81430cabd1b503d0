"""A client that can send and take no binary messages, as JSON-RPC libraries of editors: everything works all the same."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import nexus
from nexus.daemon.daemon import Daemon
from nexus.errors import ConnectionLost
from tests.daemon.promised import check
from tests.daemon.talking import Talker, eventually, served
from tests.workbench import make_bench

SIZE = 700_000
"""More than two windows of a stream."""


@pytest.fixture
async def nx(
    repository: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncGenerator[nexus.WorkspaceManager]:
    async with make_bench("local", repository, tmp_path, request).open() as manager:
        yield manager
        for entry in await manager.list():
            await manager.destroy(entry.name, force=True)


@asynccontextmanager
async def text_only(daemon: Daemon) -> AsyncGenerator[Talker, None]:
    transport = await daemon.dial()
    talker = Talker(transport)
    try:
        hello = await talker.greet(daemon.issue_token(), capabilities={"binaryFrames": False})
        assert (hello["capabilities"]["binaryFrames"], hello["capabilities"]["textFrames"]) == (False, True)
        yield talker
    finally:
        assert talker.frames == []  # not one binary message came
        await transport.aclose()


async def everything(client: Talker, stream: int) -> bytes:
    """Read a stream to its end, granting credit by text."""
    data = bytearray()
    while True:
        for notice in [each for each in client.notices if each["params"].get("stream") == stream]:
            client.notices.remove(notice)
            params: dict[str, Any] = notice["params"]
            check(notice["method"], params)
            if notice["method"] == "stream.end":
                assert (params["offset"], params["failed"]) == (len(data), False)
                return bytes(data)
            if notice["method"] == "stream.data":
                assert params["offset"] == len(data)
                data += base64.b64decode(params["data"])
                await client.tell("stream.window", stream=stream, offset=len(data))
                await client.tell("stream.window", stream=0, offset=len(data))
        await client.hear()


async def test_a_command_is_talked_to(nx: nexus.WorkspaceManager) -> None:
    await nx.create("one")
    sent = bytes(range(256)) * (SIZE // 256)
    async with served(nx) as daemon, text_only(daemon) as client:
        started = await client.call("exec.start", workspace="one", argv=["cat"], stdin=True)
        streams = started["streams"]
        taken = 0

        async def send() -> None:
            at = 0
            while at < len(sent):
                if at - taken < 200_000:
                    piece = base64.b64encode(sent[at : at + 50_000]).decode()
                    await client.tell("stream.data", stream=streams["stdin"], offset=at, data=piece)
                    at += 50_000
                else:
                    await anyio.lowlevel.checkpoint()
            await client.tell("stream.end", stream=streams["stdin"], offset=len(sent))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            data = bytearray()
            while len(data) < len(sent):
                await client.hear()
                for notice in client.notices:
                    params = notice["params"]
                    if notice["method"] == "stream.window" and params["stream"] == streams["stdin"]:
                        taken = params["offset"]
                    if notice["method"] == "stream.data":
                        data += base64.b64decode(params["data"])
                        await client.tell("stream.window", stream=streams["stdout"], offset=len(data))
                        await client.tell("stream.window", stream=0, offset=len(data))
                client.notices.clear()
        assert data == sent
        assert (await client.notice("exec.didExit"))["exit"]["exitCode"] == 0


async def test_a_file_is_read_and_a_stream_given_up(nx: nexus.WorkspaceManager) -> None:
    ws = await nx.create("one")
    content = b"0123456789" * (SIZE // 10)
    await ws.fs.write_bytes("large", content)
    async with served(nx) as daemon, text_only(daemon) as client:
        opened = await client.call("fs.openRead", workspace="one", path="large")
        assert await everything(client, opened["stream"]) == content
        again = await client.call("fs.openRead", workspace="one", path="large")
        await client.tell("stream.reset", stream=again["stream"], offset=0, code="ENOUGH")
        (connection,) = daemon._open.connections
        await eventually(lambda: not connection.streams.outlets)


async def test_what_is_no_piece_of_a_stream_closes_the_connection(nx: nexus.WorkspaceManager) -> None:
    async with served(nx) as daemon, text_only(daemon) as client:
        await client.tell("stream.data", stream=1, offset=0, data="not base64!")
        with pytest.raises(ConnectionLost):
            await client.answer(-1)
