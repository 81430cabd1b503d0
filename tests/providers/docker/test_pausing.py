"""A container is frozen, and goes on, also while the engine has not heard of what it did a moment ago."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexus.models.instances import InstanceState
from nexus.providers.docker.client import Engine
from nexus.providers.docker.endpoint import parse_address
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.pausing import freeze, goes_on, thaw, thaw_if_frozen
from tests.engine.driving import sh
from tests.engine.raw import RawEngine

NUMBER = "c217a062e826"
DONE = ""
NOT_PAUSED = f"Container {NUMBER} is not paused"
PAUSED = f"Container {NUMBER} is already paused"
RUNS = f"Cannot unpause container {NUMBER}: cannot resume a running process: unknown"
FROZEN = f"Cannot pause container {NUMBER}: cannot pause a paused container: unknown"
STOPPED = f"Container {NUMBER} is not running"


@asynccontextmanager
async def saying(*answers: str) -> AsyncGenerator[tuple[Engine, deque[str]], None]:
    """An engine that gives these answers to what changes a container, one after the other."""
    left = deque(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode()
        if not asked.startswith("POST"):
            status, body = "200 OK", json.dumps({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"})
        elif (text := left.popleft()) == DONE:
            status, body = "204 No Content", ""
        else:
            status, body = "500 Internal Server Error", json.dumps({"message": text})
        head = f"HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()

    with tempfile.TemporaryDirectory(prefix="nxt-") as folder:
        async with await asyncio.start_unix_server(serve, str(Path(folder) / "s")):
            engine = Engine(parse_address(f"unix://{folder}/s", origin="test"))
            await engine.open()
            try:
                yield engine, left
            finally:
                await engine.close()


@pytest.mark.parametrize("answers", [(DONE,), (RUNS,), (NOT_PAUSED, DONE), (NOT_PAUSED, RUNS)])
async def test_it_goes_on_whatever_the_engine_has_heard(answers: tuple[str, ...]) -> None:
    async with saying(*answers) as (engine, left):
        await thaw(engine, NUMBER, doing="resume the container")
    assert not left


@pytest.mark.parametrize(("answer", "settled"), [(DONE, True), (RUNS, True), (NOT_PAUSED, False)])
async def test_asked_once_the_word_of_the_engine_settles_nothing(answer: str, settled: bool) -> None:
    async with saying(answer, STOPPED) as (engine, left):
        assert await thaw_if_frozen(engine, NUMBER, doing="resume the container") is settled
        assert list(left) == [STOPPED]
        with pytest.raises(EngineRefused):
            await thaw_if_frozen(engine, NUMBER, doing="resume the container")


@pytest.mark.parametrize("answers", [(DONE,), (FROZEN,), (PAUSED, DONE), (PAUSED, FROZEN), (PAUSED, PAUSED)])
async def test_it_is_frozen_whatever_the_engine_has_heard(answers: tuple[str, ...]) -> None:
    async with saying(*answers) as (engine, left):
        await freeze(engine, NUMBER, doing="pause the container")
    assert not left


async def test_what_cannot_be_done_is_told() -> None:
    async with saying(NOT_PAUSED, NOT_PAUSED, STOPPED) as (engine, _):
        with pytest.raises(EngineRefused) as thawing:
            await thaw(engine, NUMBER, doing="resume the container")
        with pytest.raises(EngineRefused) as freezing:
            await freeze(engine, NUMBER, doing="pause the container")
    assert goes_on(thawing.value)
    assert not goes_on(freezing.value)
    assert freezing.value.message == f"the container engine could not pause the container: {STOPPED}"


@pytest.mark.docker
async def test_one_that_is_frozen_and_goes_on_at_once_and_often(running: DockerInstance, raw: RawEngine) -> None:
    for _ in range(20):
        await running.pause()
        await running.resume()
        await running.resume()
        await running.pause()
        await running.pause()
        assert (await running.status()).state is InstanceState.PAUSED
        await running.resume()
    assert (await sh(running, "echo on")).out == b"on\n"
    await running.pause()
    await running.stop(grace=0)
    assert raw.container(running.ref.handle or "")["State"]["Status"] == "exited"
