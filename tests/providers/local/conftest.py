# A test may block its own loop.
# ruff: noqa: ASYNC110
from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import pytest

from nexus.abc import ProcessHandle
from nexus.models.execution import ExecResult, Exited, Output, SpawnRequest, Stream
from nexus.models.ids import NodeId, WorkspaceName, new_workspace_id
from nexus.models.instances import InstanceSpec
from nexus.providers.local import LocalProvider
from nexus.providers.local.environment import mark
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper import tree
from nexus.providers.local.process import LocalProcess

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
Eventually: TypeAlias = Callable[[Callable[[], bool]], Awaitable[None]]

REPOSITORY = Path(__file__).parents[3]


LOOP: Final = "while :; do sleep 0.01; done"


def state_of(pid: int) -> str:
    process = tree.read(pid)
    return "gone" if process is None or process.ended else process.state


async def background(
    instance: LocalInstance, script: str = "exec sleep 1000", trap: str = ""
) -> tuple[LocalProcess, int]:
    """Start a command and return it with its process id, once it says that it is up and has set its trap."""
    handle = await instance.spawn(SpawnRequest(argv=("sh", "-c", f"{trap}\necho up; {script}"), grace=0.2))
    pid = getattr(await handle.receive(), "pid", None)
    assert isinstance(pid, int)
    assert isinstance(await handle.receive(), Output)
    return handle, pid


async def collect(handle: ProcessHandle, argv: tuple[str, ...] = ()) -> ExecResult:
    """Receive everything and check the order of events on the way."""
    streams: dict[Stream, bytearray] = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
    everything = bytearray()
    first = await handle.receive()
    assert type(first).__name__ == "Started"
    while True:
        event = await handle.receive()
        if isinstance(event, Output):
            assert event.offset == len(streams[event.stream])
            streams[event.stream] += event.data
            everything += event.data
        else:
            assert isinstance(event, Exited)
            break
    with pytest.raises(anyio.EndOfStream):
        await handle.receive()
    await handle.aclose()
    return ExecResult(
        exec_id=handle.exec_id,
        argv=argv,
        exit_code=event.exit_code,
        signal=event.signal,
        timed_out=event.timed_out,
        stdout_bytes=bytes(streams[Stream.STDOUT]),
        stderr_bytes=bytes(streams[Stream.STDERR]),
        output_bytes=bytes(everything),
    )


@pytest.fixture
def drain() -> Run:
    return collect


@pytest.fixture
def run(running: LocalInstance) -> Run:
    async def exec_(*argv: str, **options: object) -> ExecResult:
        handle = await running.spawn(SpawnRequest(argv=argv, **options))  # type: ignore[arg-type]
        return await collect(handle, argv)

    return exec_


@pytest.fixture
def eventually() -> Eventually:
    async def wait(condition: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not condition():
                await anyio.sleep(0.005)

    return wait


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    return {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "runtime")}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "AWS_SECRET_ACCESS_KEY": "canary-aws",
        "GITHUB_TOKEN": "canary-github",
        "MY_PROXY": "passed-when-asked-for",
    }


@pytest.fixture
async def provider(options: dict[str, str], environ: dict[str, str]) -> AsyncIterator[LocalProvider]:
    async with LocalProvider(options, env=environ) as opened:
        yield opened


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[InstanceSpec]:
    """A workspace's specification; whatever a test does, nothing of it may run afterwards."""
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    made = InstanceSpec(
        id=new_workspace_id(),
        name=WorkspaceName("one"),
        node=NodeId("test-node"),
        worktree=worktree,
        workdir=str(worktree),
        labels={"colour": "blue"},
    )
    yield made
    left = tree.marked(mark(made.id), but=frozenset({os.getpid()}))
    for process in left:
        tree.send(process, signal.SIGKILL)
    assert not left, "processes of the workspace are left"


@pytest.fixture
async def created(provider: LocalProvider, spec: InstanceSpec) -> AsyncIterator[LocalInstance]:
    instance = await provider.create(spec)
    yield instance
    await provider.destroy(instance.ref)


@pytest.fixture
async def running(created: LocalInstance) -> LocalInstance:
    await created.start()
    return created


@pytest.fixture
def manager_program(options: dict[str, str], environ: dict[str, str], spec: InstanceSpec) -> Callable[[str], list[str]]:
    """Return the command line of another manager process: it attaches to the workspace as ``instance`` and runs some lines."""

    def program(body: str) -> list[str]:
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        text = f"""
import anyio, os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from nexus.models.execution import SpawnRequest
from nexus.models.instances import InstanceRef
from nexus.providers.local import LocalProvider
async def main():
    async with LocalProvider({options!r}, env={environ!r}) as provider:
        instance = await provider.attach(InstanceRef(id={str(spec.id)!r}))
{lines}
anyio.run(main)
"""
        return [sys.executable, "-c", text]

    return program
