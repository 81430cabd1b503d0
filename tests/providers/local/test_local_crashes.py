# A test may block its own loop.
from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.errors import WorkspaceStopped
from nexus.models.execution import ExecResult, Exited, Output, SpawnRequest
from nexus.models.instances import InstanceSpec, InstanceState
from nexus.providers.local import LocalProvider
from nexus.providers.local.environment import mark
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper import tree
from nexus.socket_address import address

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
Eventually: TypeAlias = Callable[[Callable[[], bool]], Awaitable[None]]
Program: TypeAlias = Callable[[str], list[str]]


def gone(pid: int) -> bool:
    process = tree.read(pid)
    return process is None or process.ended


def marked(spec: InstanceSpec) -> list[tree.Process]:
    return tree.marked(mark(spec.id), but=frozenset({os.getpid()}))


async def test_a_workspace_outlives_the_manager_that_started_it(
    created: LocalInstance, manager_program: Program, eventually: Eventually, drain: Run
) -> None:
    body = """
await instance.start()
handle = await instance.spawn(SpawnRequest(argv=("sh", "-c", "setsid sleep 1000 & echo $!")))
await handle.receive()
daemon = (await handle.receive()).data.decode().strip()
while not hasattr(await handle.receive(), "exit_code"): pass
print((await instance.status()).process.pid, daemon, flush=True)
""".strip()
    output = await anyio.run_process(manager_program(body))
    keeper, daemon = map(int, output.stdout.split())
    status = await created.status()
    assert status.state is InstanceState.RUNNING
    assert status.process is not None
    assert status.process.pid == keeper
    assert not gone(daemon)
    assert (await drain(await created.spawn(SpawnRequest(argv=("echo", "attached"))))).stdout == "attached\n"
    await created.stop()
    assert gone(daemon)
    assert gone(keeper)


async def test_killing_the_manager_ends_its_commands_and_not_the_workspace(
    created: LocalInstance, manager_program: Program, eventually: Eventually, drain: Run
) -> None:
    await created.start()
    body = """
handle = await instance.spawn(SpawnRequest(argv=("sh", "-c", "sleep 1000 & echo $! $$; wait"), grace=0.2))
await handle.receive()
print((await handle.receive()).data.decode(), end="", flush=True)
await anyio.sleep_forever()
""".strip()
    with subprocess.Popen(manager_program(body), stdout=subprocess.PIPE) as manager:
        assert manager.stdout is not None
        line = await anyio.to_thread.run_sync(manager.stdout.readline)
        pids = [int(word) for word in line.split()]
        assert not any(map(gone, pids))
        manager.send_signal(signal.SIGKILL)
    await eventually(lambda: all(map(gone, pids)))
    assert (await created.status()).state is InstanceState.RUNNING
    assert (await drain(await created.spawn(SpawnRequest(argv=("echo", "still"))))).stdout == "still\n"


async def test_another_manager_sees_pause_and_resumes(running: LocalInstance, manager_program: Program) -> None:
    await running.pause()
    body = "print((await instance.status()).state)\nawait instance.resume()\nprint((await instance.status()).state)"
    output = await anyio.run_process(manager_program(body))
    assert output.stdout.split() == [b"paused", b"running"]
    assert (await running.status()).state is InstanceState.RUNNING


async def kill_keeper(instance: LocalInstance, eventually: Eventually) -> int:
    process = (await instance.status()).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await eventually(lambda: gone(process.pid))
    return process.pid


@pytest.mark.parametrize("act", ["stop", "destroy", "start"])
async def test_a_killed_keeper_is_reported_and_what_it_left_is_ended(
    running: LocalInstance, provider: LocalProvider, spec: InstanceSpec, eventually: Eventually, act: str
) -> None:
    handle = await running.spawn(
        SpawnRequest(argv=("sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000"), grace=0.2)
    )
    await handle.receive()
    event = await handle.receive()
    assert isinstance(event, Output)
    daemon = int(event.data)
    keeper = await kill_keeper(running, eventually)
    assert await handle.receive() == Exited(exit_code=None, lost=True)
    status = await running.status()
    assert (status.state, status.process) == (InstanceState.FAILED, None)
    assert status.detail == f"its keeper (process {keeper}) was killed"
    assert not gone(daemon)
    with pytest.raises(WorkspaceStopped, match="killed"):
        await running.spawn(SpawnRequest(argv=("true",)))
    await handle.signal(signal.SIGTERM)
    await handle.aclose()
    if act == "start":
        await running.start()
        assert (await running.status()).state is InstanceState.RUNNING
        assert [process.pid for process in marked(spec)] != [keeper]
        assert len(marked(spec)) == 1
    else:
        await (running.stop(grace=1) if act == "stop" else provider.destroy(running.ref))
        expected = InstanceState.STOPPED if act == "stop" else InstanceState.GONE
        assert (await running.status()).state is expected
        assert marked(spec) == []
    assert gone(daemon)


async def test_a_keeper_killed_while_paused_leaves_nothing_frozen_behind(
    running: LocalInstance, spec: InstanceSpec, eventually: Eventually
) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000")))
    await running.pause()
    await kill_keeper(running, eventually)
    assert len(marked(spec)) == 1
    with anyio.fail_after(30):
        await running.stop(grace=1000)
    assert marked(spec) == []
    await handle.aclose()


async def test_a_keeper_that_is_told_to_end_ends_everything(
    running: LocalInstance, spec: InstanceSpec, eventually: Eventually
) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000")))
    process = (await running.status()).process
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)
    await eventually(lambda: marked(spec) == [])
    assert (await running.status()).state is InstanceState.STOPPED
    await handle.aclose()


async def test_a_keeper_that_does_not_answer_is_ended_by_force(
    running: LocalInstance, spec: InstanceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexus.providers.local.lifecycle._MARGIN", 0.2)
    monkeypatch.setattr("nexus.providers.local.lifecycle._FAREWELL", 0.2)
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000")))
    process = (await running.status()).process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    await running.stop(grace=0.1)
    assert marked(spec) == []
    assert (await running.status()).state is InstanceState.STOPPED
    await handle.aclose()


@pytest.mark.parametrize("change", ["start_time", "boot_id"])
async def test_a_process_id_that_was_used_again_is_neither_attached_nor_signalled(
    created: LocalInstance, provider: LocalProvider, spec: InstanceSpec, options: dict[str, str], change: str
) -> None:
    """The file names a process that lives, but not the one that wrote it."""
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        process = tree.read(stranger.pid)
        assert process is not None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        run = {
            "protocol": 1,
            "pid": stranger.pid,
            "start_time": process.start_time - (change == "start_time"),
            "boot_id": "another-boot" if change == "boot_id" else boot,
            "state": "running",
            "socket": str(Path(options["runtime_dir"]) / "x.sock"),
        }
        file = Path(options["state_dir"]) / spec.id / "run.json"
        file.write_text(json.dumps(run))
        status = await created.status()
        assert status.state is (InstanceState.FAILED if change == "start_time" else InstanceState.STOPPED)
        assert status.process is None
        with pytest.raises(WorkspaceStopped):
            await created.spawn(SpawnRequest(argv=("true",)))
        with pytest.raises(WorkspaceStopped):
            await created.pause()
        await created.stop(grace=0)
        assert not file.exists()
        file.write_text(json.dumps(run))
        await created.start()
        assert (await created.status()).state is InstanceState.RUNNING
        await created.stop()
        file.write_text(json.dumps(run))
        await provider.destroy(created.ref)
        assert stranger.poll() is None
        stranger.kill()


async def test_somebody_elses_socket_is_not_talked_to(
    running: LocalInstance, provider: LocalProvider, options: dict[str, str], spec: InstanceSpec, drain: Run
) -> None:
    """Another process has put its own socket in the keeper's place: it gets no command, and the keeper makes its own again."""
    (path,) = Path(options["runtime_dir"]).iterdir()
    path.unlink()
    with address(str(path)) as name:
        listener = await anyio.create_unix_listener(name)
    heard = []

    async def listen(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            try:
                heard.append(await stream.receive())
            except anyio.EndOfStream:
                heard.append(b"")

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, listen)
        fresh = await provider.attach(running.ref)
        done = await drain(await fresh.spawn(SpawnRequest(argv=("echo", "right one"))))
        group.cancel_scope.cancel()
    await listener.aclose()
    assert done.stdout == "right one\n"
    assert set(heard) <= {b""}


async def test_a_cleared_runtime_folder_is_made_again(
    running: LocalInstance, provider: LocalProvider, options: dict[str, str], drain: Run
) -> None:
    runtime = Path(options["runtime_dir"])
    for path in runtime.iterdir():
        path.unlink()
    runtime.rmdir()
    assert (await running.status()).state is InstanceState.RUNNING
    assert (await drain(await running.spawn(SpawnRequest(argv=("echo", "ok"))))).stdout == "ok\n"
    await running.pause()
    await running.resume()


async def test_who_waits_at_the_door_is_taken_in_when_it_is_put_back(running: LocalInstance) -> None:
    process = (await running.status()).process
    assert process is not None
    await running.stats()  # from here on its keeper is known
    answered = 0

    async def ask() -> None:
        nonlocal answered
        handle = await running.spawn(SpawnRequest(argv=("true",)))
        answered += 1
        await handle.aclose()

    async with anyio.create_task_group() as group:
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(20):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()  # they have knocked and wait for an answer
        os.kill(process.pid, signal.SIGHUP)
        os.kill(process.pid, signal.SIGCONT)
    assert answered == 20


async def test_a_folder_removed_by_hand_is_gone_and_destroying_ends_what_ran(
    running: LocalInstance, provider: LocalProvider, options: dict[str, str], spec: InstanceSpec
) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000")))
    folder = Path(options["state_dir"]) / spec.id
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert (await running.status()).state is InstanceState.GONE
    await provider.destroy(running.ref)
    assert marked(spec) == []
    assert list(Path(options["runtime_dir"]).iterdir()) == []
    await handle.aclose()


async def test_a_keeper_whose_folder_is_gone_leaves_once_nothing_runs(
    running: LocalInstance, options: dict[str, str], spec: InstanceSpec, eventually: Eventually
) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sleep", "1000"), grace=0.1))
    process = (await running.status()).process
    assert process is not None
    folder = Path(options["state_dir"]) / spec.id
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    os.kill(process.pid, signal.SIGHUP)
    await handle.aclose()
    assert not gone(process.pid), "its command was still running"
    os.kill(process.pid, signal.SIGHUP)
    await eventually(lambda: gone(process.pid))
    assert list(Path(options["runtime_dir"]).iterdir()) == []


async def test_a_process_of_the_workspace_that_only_shares_a_number_is_safe(
    running: LocalInstance, provider: LocalProvider, spec: InstanceSpec, eventually: Eventually
) -> None:
    """What carries another workspace's mark, or none, is not ended with a keeper's leftovers."""
    env = {**os.environ, "NEXUS_WORKSPACE_ID": f"{spec.id}x", "OTHER": f"NEXUS_WORKSPACE_ID={spec.id}"}
    with subprocess.Popen(["sleep", "1000"], env=env) as stranger:
        await kill_keeper(running, eventually)
        await running.stop(grace=0)
        assert stranger.poll() is None
        stranger.kill()


async def test_a_damaged_run_file_is_reported_and_start_goes_on(
    running: LocalInstance, options: dict[str, str], spec: InstanceSpec
) -> None:
    file = Path(options["state_dir"]) / spec.id / "run.json"
    file.write_text("{")
    assert (await running.status()).state is InstanceState.FAILED
    await running.start()
    assert (await running.status()).state is InstanceState.RUNNING
    assert len(marked(spec)) == 1


async def test_a_keeper_that_cannot_start_leaves_nothing_and_says_why(
    created: LocalInstance, provider: LocalProvider, options: dict[str, str], spec: InstanceSpec
) -> None:
    from nexus.errors import ProviderError

    socket = provider._folders().socket(spec.id)
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    socket.mkdir()
    with pytest.raises(ProviderError, match="did not start") as caught:
        await created.start()
    assert "log" in str(caught.value.hint)
    assert marked(spec) == []
    socket.rmdir()
    await created.start()
    assert (await created.status()).state is InstanceState.RUNNING


async def test_a_keeper_of_another_release_is_not_talked_to_and_can_be_stopped(
    running: LocalInstance, provider: LocalProvider, options: dict[str, str], spec: InstanceSpec
) -> None:
    from nexus.errors import ProviderUnavailable

    file = Path(options["state_dir"]) / spec.id / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "protocol": 999}))
    fresh = await provider.attach(running.ref)
    with pytest.raises(ProviderUnavailable, match="release"):
        await fresh.spawn(SpawnRequest(argv=("true",)))
    await fresh.stop()
    assert marked(spec) == []
