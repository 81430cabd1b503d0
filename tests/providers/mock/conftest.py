"""A mock provider with a running instance on an empty worktree."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from nexus.abc import ProcessHandle
from nexus.models.execution import Exited, Output, SpawnRequest, Stream
from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.instances import InstanceSpec
from nexus.providers.mock import MockProvider, MockScript, MockWorld
from nexus.providers.mock.instance import MockInstance


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str
    exited: Exited

    @property
    def status(self) -> int | None:
        return self.exited.exit_code


async def drain(process: ProcessHandle) -> Done:
    streams = {stream: bytearray() for stream in Stream}
    while True:
        event = await process.receive()
        if isinstance(event, Output):
            streams[event.stream] += event.data
        if isinstance(event, Exited):
            with pytest.raises(anyio.EndOfStream):
                await process.receive()
            return Done(streams[Stream.STDOUT].decode(), streams[Stream.STDERR].decode(), event)


Run = Callable[..., Awaitable[Done]]


@pytest.fixture
def script() -> MockScript:
    return MockScript()


@pytest.fixture
def world() -> MockWorld:
    return MockWorld()


@pytest.fixture
def spec(tmp_path: Path) -> InstanceSpec:
    tree = tmp_path / "tree"
    tree.mkdir()
    return InstanceSpec(
        id=new_workspace_id(), name=parse_name("one"), node=NodeId("node"), worktree=tree, workdir="/workspace"
    )


@pytest.fixture
async def provider(script: MockScript, world: MockWorld) -> AsyncGenerator[MockProvider, None]:
    async with MockProvider(script=script, world=world) as made:
        yield made


@pytest.fixture
async def instance(provider: MockProvider, spec: InstanceSpec) -> MockInstance:
    made = await provider.create(spec)
    await made.start()
    return made


@pytest.fixture
def run(instance: MockInstance) -> Run:
    async def run_(*argv: str, **options: object) -> Done:
        return await drain(await instance.spawn(SpawnRequest(argv=argv, **options)))  # type: ignore[arg-type]

    return run_


@pytest.fixture
def sh(run: Run) -> Run:
    async def sh_(text: str, *arguments: str) -> Done:
        return await run("sh", "-c", text, "sh", *arguments)

    return sh_
