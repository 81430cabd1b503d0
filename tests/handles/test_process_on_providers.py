"""The same promises as in ``test_process``, kept by commands that are not scripted."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from nexus.abc.provider import Instance
from nexus.errors import ExecFailed, ExecTimeout, OutputLimitExceeded
from nexus.handles.operation import Operation
from nexus.handles.process import Process, run
from nexus.models.execution import ExecEvent, Exited, Output, OutputLimit, SpawnRequest, Stream
from nexus.models.ids import NodeId, new_workspace_id, parse_name
from nexus.models.instances import InstanceSpec
from nexus.processes import start_time
from nexus.providers.local import LocalProvider
from nexus.providers.mock import MockProvider, MockWorld


def spec(tree: Path) -> InstanceSpec:
    return InstanceSpec(
        id=new_workspace_id(), name=parse_name("here"), node=NodeId("tests"), worktree=tree, workdir=str(tree)
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


@pytest.fixture
async def local(tmp_path: Path, tree: Path) -> AsyncIterator[Instance]:
    options = {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")}
    async with LocalProvider(options, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}) as provider:
        instance = await provider.create(spec(tree))
        await instance.start()
        yield instance
        await provider.destroy(instance.ref)


@pytest.fixture
async def mock(tree: Path) -> AsyncIterator[Instance]:
    async with MockProvider(world=MockWorld()) as provider:
        instance = await provider.create(spec(tree))
        await instance.start()
        yield instance
        await provider.destroy(instance.ref)


@pytest.fixture(params=["mock", "local"])
def instance(request: pytest.FixtureRequest) -> Callable[[], Instance]:
    """A running place. Async fixtures cannot be asked for by name inside an async test, so it is looked up before."""
    found: Instance = request.getfixturevalue(request.param)
    return lambda: found


def sh(script: str, *, stdin: bool = False, timeout: float | None = None, grace: float = 5.0) -> SpawnRequest:
    return SpawnRequest(argv=("sh", "-c", script), stdin=stdin, timeout=timeout, grace=grace)


async def do(place: Instance, request: SpawnRequest) -> Process:
    return Process(await place.spawn(request), request)


async def test_output_and_status(instance: Callable[[], Instance]) -> None:
    request = sh("echo out; echo err >&2; exit 3")
    result = await run(await instance().spawn(request), request)
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)
    with pytest.raises(ExecFailed):
        await run(await instance().spawn(request), request, check=True)


async def test_input_larger_than_any_pipe_comes_back(instance: Callable[[], Instance]) -> None:
    data = os.urandom(1_000_000)
    request = SpawnRequest(argv=("cat",), stdin=True)
    result = await run(await instance().spawn(request), request, input=data)
    assert result.stdout_bytes == data


async def test_input_that_nobody_reads(instance: Callable[[], Instance]) -> None:
    request = SpawnRequest(argv=("true",), stdin=True)
    assert (await run(await instance().spawn(request), request, input=b"x" * 1_000_000)).ok


async def test_lines_and_wait(instance: Callable[[], Instance]) -> None:
    process = await do(instance(), sh("echo one; echo two; echo three"))
    async for line in process.lines():
        assert line == "one"
        break
    assert (await process.wait()).stdout == "one\ntwo\nthree\n"
    await process.aclose()


async def test_time_out_has_the_output_until_then(instance: Callable[[], Instance]) -> None:
    request = sh("echo part; sleep 60", timeout=2, grace=0.2)
    with pytest.raises(ExecTimeout) as caught:
        await run(await instance().spawn(request), request)
    assert caught.value.result.stdout == "part\n"


async def test_leaving_an_owning_block_ends_it(instance: Callable[[], Instance]) -> None:
    async def begin() -> Process:
        return await do(instance(), sh("echo ready; sleep 60"))

    async with Operation(begin, lambda process, _: process.aclose(), what="spawn sh") as process:
        async for line in process.lines():
            assert line == "ready"
            break
    assert process.exit_code == 128 + signal.SIGTERM


async def test_terminate(instance: Callable[[], Instance]) -> None:
    process = await do(instance(), sh("echo ready; sleep 60"))
    result = await process.terminate()
    assert result.signal == signal.SIGTERM
    await process.aclose()


async def test_cancelled_run_leaves_no_process(local: Instance) -> None:
    request = sh("trap '' TERM; echo $$; while :; do sleep 0.05; done", grace=0.2)
    printed = bytearray()
    with anyio.CancelScope() as scope:

        def cancel_when_it_runs(event: ExecEvent) -> None:
            if isinstance(event, Output):
                printed.extend(event.data)
            if printed.endswith(b"\n"):
                scope.cancel()

        await run(await local.spawn(request), request, on_event=cancel_when_it_runs)
    assert scope.cancelled_caught
    assert start_time(int(printed)) is None


LAST_WORDS = "trap 'head -c 500000 /dev/zero; echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


async def ready(process: Process) -> None:
    async for line in process.lines():
        assert line == "ready"
        break


async def test_terminate_reads_last_words_longer_than_a_pipe(local: Instance) -> None:
    process = await do(local, sh(LAST_WORDS))
    await ready(process)
    result = await process.terminate(grace=30)
    assert result.exit_code == 7
    assert len(result.stdout_bytes) == 500_000 + len("ready\nbye\n")
    assert result.stdout.endswith("bye\n")
    await process.aclose()


async def test_last_words_that_nobody_reads_do_not_hold_up_closing(local: Instance) -> None:
    process = await do(local, sh(LAST_WORDS, grace=30))
    await ready(process)
    await process.aclose()
    assert process.exit_code == 7


async def test_endless_output_is_ended_at_the_limit(local: Instance) -> None:
    request = SpawnRequest(argv=("yes",))
    limit = OutputLimit(head=1000, tail=1000, on_exceed="raise")
    with pytest.raises(OutputLimitExceeded) as caught:
        await run(await local.spawn(request), request, limit=limit)
    assert len(caught.value.result.stdout_bytes) == 2000
    assert caught.value.result.truncated[Stream.STDOUT].total > 2000


async def test_truncated_output_of_a_command_that_runs_on(local: Instance) -> None:
    request = sh("head -c 3000000 /dev/zero | tr '\\0' a; echo; echo end")
    result = await run(await local.spawn(request), request, limit=OutputLimit(head=10, tail=5))
    assert result.stdout == "a" * 10 + "\nend\n"
    assert result.truncated[Stream.STDOUT].total == 3_000_005


async def test_events_end_with_exited(instance: Callable[[], Instance]) -> None:
    process = await do(instance(), sh("exit 5"))
    events = [event async for event in process]
    last = events[-1]
    assert isinstance(last, Exited)
    assert last.exit_code == 5
    await process.aclose()
