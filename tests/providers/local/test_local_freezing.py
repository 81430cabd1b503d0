"""Pausing, by each means that this machine has: control groups of version 2, those of version 1, and signals."""

# A test may block its own loop.
# ruff: noqa: ASYNC110
from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from nexus.errors import WorkspaceStopped
from nexus.models.execution import ExecResult, SpawnRequest
from nexus.models.instances import InstanceSpec, InstanceState
from nexus.providers.local import LocalProvider, freezing
from nexus.providers.local.environment import mark
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.keeper import tree
from nexus.providers.local.keeper.frozen_group import FrozenGroup
from tests.providers.local.conftest import LOOP, background, state_of

Run: TypeAlias = Callable[..., Awaitable[ExecResult]]
Eventually: TypeAlias = Callable[[Callable[[], bool]], Awaitable[None]]
VERSION = {"version 2": "cgroup.freeze", "version 1": "freezer.state"}


@pytest.fixture(params=[*VERSION, "signals"], autouse=True)
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What a pause is kept by; only what this machine really has."""
    chosen = str(request.param)
    every = freezing._parents

    def parents(keeper: int | None) -> Iterator[Path]:
        for parent in every(keeper):
            two = (parent / "cgroup.controllers").exists()
            if chosen != "signals" and two is (chosen == "version 2"):
                yield parent

    monkeypatch.setattr(freezing, "_parents", parents)
    if chosen != "signals":
        probe = tmp_path / f"probe-{os.getpid()}"
        probe.mkdir()
        freezing.prepare(probe, os.getpid())
        usable = FrozenGroup.noted(str(probe)) is not None
        freezing.remove(probe)
        if not usable:
            pytest.skip(f"no control group of {chosen} can be frozen here")
    return chosen


def check_frozen(instance: LocalInstance, keeper: int, means: str) -> None:
    """Every descendant is held, as the kernel tells it, and nobody else."""
    living = [process for process in tree.descendants(keeper) if not process.ended]
    if means == "signals":
        # D: between vfork and exec, where a parent waits in the kernel for its stopped child.
        assert {process.state for process in living} <= {"T", "D"}
        return
    group = FrozenGroup.noted(instance.ref.handle or "")
    assert group is not None
    folder = Path(group.path)
    assert (folder / VERSION[means]).read_text().strip() in {"1", "FROZEN", "FREEZING"}
    inside = set(map(int, (folder / "cgroup.procs").read_text().split()))
    assert {process.pid for process in living} <= inside
    assert keeper not in inside
    assert "T" not in {process.state for process in living}, "nobody is told that anything is stopped"


async def test_pausing_freezes_everything_and_resuming_lets_it_go_on(
    running: LocalInstance, eventually: Eventually, means: str
) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    first, pid = await background(running, "while :; do sleep 0.001; done", "sleep 1000 & setsid sleep 1000 &")
    await running.pause()
    await running.pause()
    assert (await running.status()).state is InstanceState.PAUSED
    assert len(tree.descendants(keeper.pid)) >= 3
    check_frozen(running, keeper.pid, means)
    assert (await running.status()).detail.startswith(
        "stopped by signals" if means == "signals" else "frozen by its control group"
    )
    with pytest.raises(WorkspaceStopped, match="paused") as caught:
        await running.spawn(SpawnRequest(argv=("true",)))
    assert "resume" in str(caught.value.hint)
    await running.resume()
    await running.resume()
    assert (await running.status()).state is InstanceState.RUNNING
    await eventually(lambda: state_of(pid) in "RSD")
    handle = await running.spawn(SpawnRequest(argv=("true",)))
    await handle.aclose()
    await first.aclose()


async def test_a_fork_storm_is_frozen_too(running: LocalInstance, means: str) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    handles = [(await background(running, "while :; do (true & (true &) ) ; done"))[0] for _ in range(3)]
    for _ in range(5):
        await running.pause()
        check_frozen(running, keeper.pid, means)
        await running.resume()
    for handle in handles:
        await handle.aclose()


async def test_what_was_stopped_before_stays_stopped(running: LocalInstance) -> None:
    handle, pid = await background(running, "exec sleep 1000")
    other, other_pid = await background(running, "exec sleep 1000")
    await handle.signal(signal.SIGSTOP)
    with anyio.fail_after(60):
        while state_of(pid) != "T":
            await anyio.sleep(0.005)
    await running.pause()
    await running.resume()
    with anyio.fail_after(60):
        while state_of(other_pid) == "T":
            await anyio.sleep(0.005)
    assert state_of(pid) == "T"
    await handle.aclose()
    await other.aclose()


def groups_of(spec: InstanceSpec) -> list[str]:
    """The control groups of a workspace; those of other tests come and go meanwhile."""
    return [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith(f"nexus-{spec.id}")]


@pytest.mark.parametrize("act", ["stop", "destroy"])
async def test_a_paused_one_can_be_ended(
    running: LocalInstance, provider: LocalProvider, spec: InstanceSpec, act: str
) -> None:
    handle, pid = await background(running, LOOP, "trap 'exit 3' TERM")
    await running.pause()
    with anyio.fail_after(30):
        await (running.stop(grace=1000) if act == "stop" else provider.destroy(running.ref))
    assert state_of(pid) == "gone"
    while not hasattr(event := await handle.receive(), "exit_code"):
        pass
    assert getattr(event, "exit_code", None) == 3
    await handle.aclose()
    assert tree.marked(mark(spec.id), but=frozenset({os.getpid()})) == []
    assert groups_of(spec) == []


async def test_closing_a_command_works_while_paused(running: LocalInstance) -> None:
    handle, pid = await background(running)
    await running.pause()
    await handle.aclose()
    assert state_of(pid) == "gone"


async def test_nobody_sees_that_it_was_frozen(running: LocalInstance, means: str) -> None:
    """A parent that asks to be told of stopped children is told of none, unless signals are all there is."""
    script = """
import os, signal, sys
told = []
signal.signal(signal.SIGCHLD, lambda *_: told.append(1))
child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
print("up", flush=True)
sys.stdin.readline()
print(len(told), flush=True)
os.kill(child, signal.SIGKILL)
"""
    handle = await running.spawn(SpawnRequest(argv=("python3", "-c", script), stdin=True))
    await handle.receive()
    await handle.receive()
    await running.pause()
    await running.resume()
    await handle.write(b"go\n")
    answer = await handle.receive()
    told = int(getattr(answer, "data", b"").decode())
    assert told >= 1 if means == "signals" else told == 0
    await handle.aclose()


async def test_what_was_started_after_a_resume_is_frozen_next_time(running: LocalInstance, means: str) -> None:
    keeper = (await running.status()).process
    assert keeper is not None
    handles = []
    for _ in range(3):
        handles.append((await background(running, LOOP))[0])
        await running.pause()
        check_frozen(running, keeper.pid, means)
        await running.resume()
    for handle in handles:
        await handle.aclose()


async def test_a_keeper_killed_while_paused_leaves_nothing_frozen(
    running: LocalInstance, spec: InstanceSpec, eventually: Eventually
) -> None:
    handle, pid = await background(running, LOOP)
    keeper = (await running.status()).process
    assert keeper is not None
    await running.pause()
    os.kill(keeper.pid, signal.SIGKILL)
    await eventually(lambda: state_of(keeper.pid) == "gone")
    with anyio.fail_after(30):
        await running.stop(grace=1000)
    assert state_of(pid) == "gone"
    await handle.aclose()
    assert groups_of(spec) == []


async def test_the_backend_says_how(provider: LocalProvider, means: str) -> None:
    said = (await provider.probe()).detail
    assert ("paused by signals" in said) is (means == "signals")
    assert ("paused by a control group's freezer" in said) is (means != "signals")


def test_a_note_that_names_another_group_is_not_believed(tmp_path: Path, means: str) -> None:
    """The folder is the user's own, but what stands in it may be damaged: no other group is thawed or removed for it."""
    folder, other = tmp_path / "w", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "freezer.state").write_text("FROZEN")
    for text in (f'{{"group": "{other}"}}', "{", "[]", '{"group": 7}', ""):
        (folder / "freezer.json").write_text(text)
        freezing.thaw(folder)
        freezing.remove(folder)
        assert (other / "freezer.state").read_text() == "FROZEN"
