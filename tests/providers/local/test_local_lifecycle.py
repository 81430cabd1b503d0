# A test may block its own loop.
# ruff: noqa: ASYNC110
from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.abc import Instance, Provider, SupportsLogs, SupportsPause, SupportsStats
from nexus.abc.provider import SupportsPortChange
from nexus.errors import (
    Busy,
    InvalidArgument,
    PortInUse,
    ProviderError,
    ProviderUnavailable,
    RecordDamaged,
    StateConflict,
    Unsupported,
    WorkspaceGone,
    WorkspaceStopped,
)
from nexus.models.execution import ExecResult, SpawnRequest
from nexus.models.ids import WorkspaceId, new_workspace_id
from nexus.models.instances import Capability, InstanceRef, InstanceSpec, InstanceState
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.processes import is_alive
from nexus.providers.local import LocalProvider
from nexus.providers.local.environment import mark
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper import tree
from nexus.providers.local.locks import locked
from tests.providers.local.conftest import LOOP, background, state_of
from tests.unused_ports import unused_port

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
Eventually: TypeAlias = Callable[[Callable[[], bool]], Awaitable[None]]
Program: TypeAlias = Callable[[str], list[str]]


def marked(spec: InstanceSpec) -> list[tree.Process]:
    return tree.marked(mark(spec.id), but=frozenset({os.getpid()}))


async def test_it_has_the_shape_of_the_seams(provider: LocalProvider, running: LocalInstance) -> None:
    assert isinstance(provider, Provider)
    for seam in (Instance, SupportsPause, SupportsLogs, SupportsStats, SupportsPortChange):
        assert isinstance(running, seam)


async def test_probing_tells_what_it_is_and_makes_nothing(provider: LocalProvider, options: dict[str, str]) -> None:
    info = await provider.probe()
    assert info.available
    assert info.capabilities == {"pause", "logs", "stats", "pty", "signals", "services", "host-tree", "keeping"}
    assert Capability.ISOLATION not in info.capabilities
    assert "nothing is isolated" in info.detail
    assert not any(Path(folder).exists() for folder in options.values())


async def test_probing_never_raises(tmp_path: Path) -> None:
    async with LocalProvider({"state_dir": 5, "runtime_dir": str(tmp_path)}) as provider:
        info = await provider.probe()
    assert not info.available
    assert "state_dir" in info.detail


async def test_elsewhere_than_on_linux_it_says_so(
    provider: LocalProvider, spec: InstanceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    info = await provider.probe()
    assert not info.available
    assert "Linux only" in info.detail
    with pytest.raises(ProviderUnavailable, match="Linux only"):
        await provider.create(spec)


async def test_from_creation_to_destruction(
    provider: LocalProvider, spec: InstanceSpec, options: dict[str, str]
) -> None:
    instance = await provider.create(spec)
    assert (await instance.status()).state is InstanceState.STOPPED
    await instance.start()
    status = await instance.status()
    assert status.state is InstanceState.RUNNING
    assert status.process is not None
    assert is_alive(status.process)
    assert status.labels["colour"] == "blue"
    assert status.labels["dev.nexus.workspace"] == spec.id
    await instance.stop()
    status = await instance.status()
    assert (status.state, status.process) == (InstanceState.STOPPED, None)
    assert marked(spec) == []
    await instance.start()
    await provider.destroy(instance.ref)
    assert (await instance.status()).state is InstanceState.GONE
    assert marked(spec) == []
    assert [list(Path(folder).iterdir()) for folder in options.values()] == [[], []]
    assert spec.worktree.is_dir()


async def test_creating_twice_gives_the_first_one(
    provider: LocalProvider, running: LocalInstance, spec: InstanceSpec
) -> None:
    again = await provider.create(spec.model_copy(update={"labels": {"colour": "red"}}))
    status = await again.status()
    assert status.state is InstanceState.RUNNING
    assert status.labels["colour"] == "blue"


async def test_starting_and_stopping_twice_is_fine(running: LocalInstance) -> None:
    before = (await running.status()).process
    await running.start()
    assert (await running.status()).process == before
    await running.stop()
    await running.stop()
    await running.stop(grace=0)


async def test_the_files_are_for_this_user_alone(running: LocalInstance, options: dict[str, str]) -> None:
    files = [path for folder in options.values() for path in (Path(folder), *Path(folder).rglob("*"))]
    assert len(files) >= 7
    assert [oct(path.lstat().st_mode) for path in files if path.lstat().st_mode & 0o077] == []


async def test_one_keeper_however_many_start_at_once(
    created: LocalInstance, provider: LocalProvider, spec: InstanceSpec
) -> None:
    others = [await provider.attach(created.ref) for _ in range(6)]
    async with anyio.create_task_group() as group:
        for instance in others:
            group.start_soon(instance.start)
    assert len(marked(spec)) == 1
    assert len({str((await instance.status()).process) for instance in others}) == 1


async def test_one_keeper_however_many_processes_start_at_once(
    created: LocalInstance, spec: InstanceSpec, manager_program: Program
) -> None:
    command = manager_program("await instance.start()\nprint((await instance.status()).process.pid)")
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [await anyio.to_thread.run_sync(lambda p=process: p.communicate()[0]) for process in processes]  # type: ignore[misc]
    assert len(set(found)) == 1
    assert [process.pid for process in marked(spec)] == [int(found[0])]


async def test_starting_while_another_stops_ends_running(
    created: LocalInstance, provider: LocalProvider, spec: InstanceSpec
) -> None:
    await created.start()
    handle, _ = await background(created, "sleep 0.3 & wait; sleep 0.3; exec sleep 0.1", "trap '' TERM")
    other = await provider.attach(created.ref)
    async with anyio.create_task_group() as group:
        group.start_soon(created.stop)
        while (await other.status()).detail != "it is being stopped":
            await anyio.sleep(0.001)
        with pytest.raises(WorkspaceStopped):
            await other.spawn(SpawnRequest(argv=("true",)))
        await other.start()
    assert (await other.status()).state is InstanceState.RUNNING
    assert len(marked(spec)) == 1
    await handle.aclose()


async def test_stopping_gives_a_grace_and_then_kills(running: LocalInstance, spec: InstanceSpec) -> None:
    polite, _ = await background(running, LOOP, "trap 'echo bye; exit 3' TERM")
    stubborn, stubborn_pid = await background(running, LOOP, "trap '' TERM")
    await running.stop(grace=0.5)
    assert state_of(stubborn_pid) == "gone"
    said = b""
    while not hasattr(event := await polite.receive(), "exit_code"):
        said += getattr(event, "data", b"")
    assert b"bye\n" in said
    assert getattr(event, "exit_code", None) == 3
    assert getattr(await stubborn.receive(), "signal", None) == signal.SIGKILL
    await polite.aclose()
    await stubborn.aclose()
    assert marked(spec) == []


async def test_stopping_takes_no_longer_than_the_programs_do(running: LocalInstance) -> None:
    handle, pid = await background(running)
    with anyio.fail_after(30):
        await running.stop(grace=1000)
    assert state_of(pid) == "gone"
    await handle.aclose()


async def test_a_cancelled_stop_goes_on(running: LocalInstance, spec: InstanceSpec, eventually: Eventually) -> None:
    handle, _ = await background(running, LOOP, "trap '' TERM")
    with anyio.move_on_after(0.1) as scope:
        await running.stop(grace=0.5)
    assert scope.cancelled_caught
    await eventually(lambda: marked(spec) == [])
    assert (await running.status()).state is InstanceState.STOPPED
    await handle.aclose()


@pytest.mark.parametrize("grace", [-1.0, float("nan"), float("inf")])
async def test_a_grace_is_a_number_of_seconds(running: LocalInstance, grace: float) -> None:
    with pytest.raises(InvalidArgument):
        await running.stop(grace=grace)


async def test_what_is_not_running_cannot_act(created: LocalInstance) -> None:
    for act in (
        lambda: created.spawn(SpawnRequest(argv=("true",))),
        created.pause,
        created.resume,
        created.stats,
    ):
        with pytest.raises(WorkspaceStopped, match="not running"):
            await act()
    await created.stop()


async def test_what_is_gone_cannot_act(provider: LocalProvider) -> None:
    missing = await provider.attach(InstanceRef(id=new_workspace_id(), name="one"))
    assert (await missing.status()).state is InstanceState.GONE
    for act in (
        lambda: missing.spawn(SpawnRequest(argv=("true",))),
        missing.start,
        missing.pause,
        missing.resume,
        missing.stats,
        lambda: anext(missing.logs()),
        lambda: missing.change_ports(()),
    ):
        with pytest.raises(WorkspaceGone):
            await act()
    await missing.stop()
    await provider.destroy(missing.ref)
    await provider.destroy(missing.ref)


async def test_time_limits_stand_still_while_paused(running: LocalInstance) -> None:
    handle = await running.spawn(SpawnRequest(argv=("sh", "-c", "echo up; exec sleep 0.6"), timeout=2.0))
    await handle.receive()
    await handle.receive()
    await running.pause()
    await anyio.sleep(2.2)  # the whole limit passes in the world, none of it in the workspace
    await running.resume()
    event = await handle.receive()
    assert (getattr(event, "exit_code", None), getattr(event, "timed_out", None)) == (0, False)
    await handle.aclose()


async def test_starting_a_paused_one_resumes_it(running: LocalInstance) -> None:
    before = (await running.status()).process
    await running.pause()
    await running.start()
    status = await running.status()
    assert (status.state, status.process) == (InstanceState.RUNNING, before)


async def test_destroying_twice_at_once(
    provider: LocalProvider, running: LocalInstance, options: dict[str, str]
) -> None:
    handle, _ = await background(running)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(provider.destroy, running.ref)
    assert [list(Path(folder).iterdir()) for folder in options.values()] == [[], []]
    await handle.aclose()


async def test_destroying_what_a_crash_left_half_made(
    provider: LocalProvider, spec: InstanceSpec, options: dict[str, str]
) -> None:
    instance = await provider.create(spec)
    state = Path(options["state_dir"])
    for name in (f".new-{spec.id}-abc", f".gone-{spec.id}-abc"):
        (state / name).mkdir()
        (state / name / "instance.json").write_text("{}")
    (state / ".new-other-abc").mkdir()
    await provider.destroy(instance.ref)
    assert [path.name for path in state.iterdir()] == [".new-other-abc"]


@pytest.mark.parametrize("content", ["", "null", "{", "[]", '{"schema_version": 99}', "\x00"])
async def test_a_damaged_description_is_reported_and_can_be_removed_or_made_again(
    provider: LocalProvider, running: LocalInstance, spec: InstanceSpec, options: dict[str, str], content: str
) -> None:
    description = Path(options["state_dir"]) / spec.id / "instance.json"
    description.write_text(content)
    other = await provider.attach(running.ref)
    assert (await other.status()).state is InstanceState.RUNNING
    assert str(description) in (await other.status()).detail
    await other.stop()
    assert (await other.status()).state is InstanceState.FAILED
    with pytest.raises(RecordDamaged):
        await other.start()
    assert [status.state for status in await provider.list()] == [InstanceState.FAILED]
    again = await provider.create(spec)
    await again.start()
    assert (await again.status()).state is InstanceState.RUNNING


async def test_listing_by_labels_passes_over_garbage(
    provider: LocalProvider, spec: InstanceSpec, options: dict[str, str]
) -> None:
    assert await provider.list() == ()
    first = await provider.create(spec)
    second = await provider.create(spec.model_copy(update={"id": new_workspace_id(), "labels": {"colour": "red"}}))
    state = Path(options["state_dir"])
    (state / "a-file").write_text("")
    (state / "an-empty-folder").mkdir()
    (state / "a name with spaces").mkdir()
    (state / "a-link").symlink_to(state / first.ref.id)
    listed = {status.ref.id: status.state for status in await provider.list()}
    assert listed == {
        first.ref.id: InstanceState.STOPPED,
        second.ref.id: InstanceState.STOPPED,
        WorkspaceId("an-empty-folder"): InstanceState.FAILED,
    }
    assert [status.ref.id for status in await provider.list({"colour": "blue"})] == [first.ref.id]
    assert [status.ref.id for status in await provider.list({"dev.nexus.node": "test-node", "colour": "red"})] == [
        second.ref.id
    ]
    assert await provider.list({"colour": "green"}) == ()
    for status in await provider.list():
        await provider.destroy(status.ref)
    assert sorted(path.name for path in state.iterdir()) == ["a name with spaces", "a-file", "a-link"]


async def test_a_taken_port_is_named_before_anything_starts(provider: LocalProvider, spec: InstanceSpec) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        mapping = PortMapping(name="web", container_port=3000, host_port=port)
        instance = await provider.create(spec.model_copy(update={"ports": (mapping,)}))
        with pytest.raises(PortInUse, match="web") as caught:
            await instance.start()
        assert caught.value.details["port"] == port
        assert marked(spec) == []
    await instance.start()
    await provider.destroy(instance.ref)


async def test_ports_are_told_and_can_be_changed_while_stopped(
    provider: LocalProvider, spec: InstanceSpec, drain: Run
) -> None:
    first, second = unused_port(), unused_port()
    mapping = PortMapping(name="web", container_port=3000, host_port=first)
    instance = await provider.create(spec.model_copy(update={"ports": (mapping,)}))
    other = await provider.attach(instance.ref)

    async def told() -> list[str]:
        handle = await other.spawn(SpawnRequest(argv=("sh", "-c", "echo $NEXUS_WORKSPACE_PORT_WEB $PORT")))
        return (await drain(handle)).stdout.split()

    await instance.start()
    assert await told() == [str(first), str(first)]
    with pytest.raises(StateConflict):
        await instance.change_ports((mapping.model_copy(update={"host_port": second}),))
    await instance.stop()
    changed = await instance.change_ports((mapping.model_copy(update={"host_port": second}),))
    assert [port.host_port for port in (await changed.status()).ports] == [second]
    await changed.start()
    assert await told() == [str(second), str(second)]
    await provider.destroy(instance.ref)


async def test_a_missing_worktree_is_named(created: LocalInstance, spec: InstanceSpec) -> None:
    spec.worktree.rmdir()
    with pytest.raises(ProviderError, match="worktree"):
        await created.start()
    assert marked(spec) == []
    spec.worktree.mkdir()
    await created.start()


async def test_mounts_of_what_is_there_anyway_are_fine_and_others_are_refused(
    provider: LocalProvider, spec: InstanceSpec, tmp_path: Path
) -> None:
    there = VolumeMount(source=str(spec.worktree), target=str(spec.worktree))
    mounted = spec.model_copy(update={"mounts": (there,)})
    assert await provider.prepare(mounted) == mounted
    other = VolumeMount(source="cache", target=str(tmp_path / "no-such-place"), kind="volume")
    with pytest.raises(Unsupported, match="no-such-place"):
        await provider.create(spec.model_copy(update={"mounts": (other,)}))
    assert await provider.list() == ()


async def test_a_socket_path_longer_than_the_system_takes(
    tmp_path: Path, spec: InstanceSpec, environ: dict[str, str], drain: Run
) -> None:
    deep = tmp_path.joinpath(*(["x" * 60] * 3))
    deep.mkdir(parents=True)
    async with LocalProvider({"state_dir": str(tmp_path / "s"), "runtime_dir": str(deep)}, env=environ) as provider:
        instance = await provider.create(spec)
        await instance.start()
        assert (await drain(await instance.spawn(SpawnRequest(argv=("echo", "ok"))))).stdout == "ok\n"
        await provider.destroy(instance.ref)
    assert list(deep.iterdir()) == []


async def test_a_lock_that_is_held_names_its_holder(
    created: LocalInstance, options: dict[str, str], spec: InstanceSpec
) -> None:
    folder = Path(options["state_dir"]) / spec.id
    async with locked(folder):
        with pytest.raises(Busy, match=str(os.getpid())):
            async with locked(folder, timeout=0.05):
                raise AssertionError
    async with locked(folder, timeout=0.05):
        pass


async def test_options_name_variables_to_pass(
    options: dict[str, str], environ: dict[str, str], spec: InstanceSpec, drain: Run
) -> None:
    async with LocalProvider({**options, "pass_env": ["MY_PROXY"]}, env=environ) as provider:
        instance = await provider.create(spec)
        await instance.start()
        done = await drain(await instance.spawn(SpawnRequest(argv=("env",))))
        assert "MY_PROXY=passed-when-asked-for" in done.stdout
        assert "canary" not in done.stdout
        await provider.destroy(instance.ref)
