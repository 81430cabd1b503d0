from __future__ import annotations

import json
import os
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.models.execution import ExecResult, SpawnRequest
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceSpec
from nexus.models.resources import CpuAllocation, MemoryAllocation, ResourceAllocation
from nexus.providers.local import LocalProvider, cgroups
from nexus.providers.local.instance import LocalInstance
from nexus.providers.local.limits import choose_processors
from tests.providers.local.conftest import collect

MIB = 1024 * 1024
GREEDY = "import sys; data = bytearray(int(sys.argv[1])); print(len(data))"


@given(
    name=st.text(max_size=8),
    limit=st.floats(min_value=0.01, max_value=200),
    there=st.sets(st.integers(0, 300), min_size=1),
)
def test_as_many_processors_as_the_limit_says_and_only_those_there_are(
    name: str, limit: float, there: set[int]
) -> None:
    chosen = choose_processors(WorkspaceId(name), limit, there)
    assert chosen <= there
    assert len(chosen) == min(len(there), max(1, -int(-limit // 1)))
    assert chosen == choose_processors(WorkspaceId(name), limit, there)


async def run(instance: LocalInstance, *argv: str) -> ExecResult:
    return await collect(await instance.spawn(SpawnRequest(argv=argv)), argv)


async def test_limits_hold_for_programs_and_can_be_changed_while_stopped(
    provider: LocalProvider, spec: InstanceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_here", lambda _=None: ())  # as for a user who may make no groups
    limits = ResourceAllocation(cpu=CpuAllocation(cores=0.5), memory=MemoryAllocation(bytes=300 * MIB))
    instance = await provider.create(spec.model_copy(update={"resources": limits}))
    await instance.start()
    everywhere = len(os.sched_getaffinity(0))
    here = await run(instance, sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))")
    assert int(here.stdout) == 1
    stats = await instance.stats()
    assert stats.cpu_limit == (1 if (os.cpu_count() or 1) > 1 else None)
    assert (stats.memory_limit, stats.processes_limit) == (None, None)
    assert (await run(instance, sys.executable, "-c", GREEDY, str(50 * MIB))).exit_code == 0
    refused = await run(instance, sys.executable, "-c", GREEDY, str(600 * MIB))
    assert "MemoryError" in refused.stderr

    await instance.stop(grace=1.0)
    more = ResourceAllocation(cpu=CpuAllocation(cores=4096), memory=MemoryAllocation(bytes=4096 * MIB))
    await instance.resize(more)
    await instance.start()
    here = await run(instance, sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))")
    assert int(here.stdout) == everywhere
    assert (await run(instance, sys.executable, "-c", GREEDY, str(600 * MIB))).exit_code == 0
    await provider.destroy(instance.ref)
    assert "memory of each process; not limited: disk space, the number of processes" in (await provider.probe()).detail


@pytest.mark.skipif(cgroups.available() != set(cgroups.CONTROLLERS), reason="no control groups can be made here")
async def test_all_processes_together_are_limited_where_groups_can_be_made(
    provider: LocalProvider, spec: InstanceSpec
) -> None:
    limits = ResourceAllocation(cpu=CpuAllocation(cores=0.5), memory=MemoryAllocation(bytes=128 * MIB, swap=0))
    instance = await provider.create(spec.model_copy(update={"resources": limits}))
    await instance.start()
    stats = await instance.stats()
    assert (stats.cpu_limit, stats.memory_limit, stats.processes_limit) == (0.5, 128 * MIB, 4096)
    # Two that are small enough alone are too much together: the kernel ends one, and the keeper goes on.
    both = f'{sys.executable} -c "$1" {80 * MIB} & a=$!; {sys.executable} -c "$1" {80 * MIB}; b=$?; wait $a; echo $? $b'
    slow = (
        "import sys, time; data = bytearray(int(sys.argv[1])); data[::4096] = b'x' * len(data[::4096]); time.sleep(2)"
    )
    ends = (await run(instance, "sh", "-c", both, "sh", slow)).stdout.split()
    assert "137" in ends, ends
    assert (await run(instance, "true")).exit_code == 0
    (memory,) = [
        Path(group) for group in json.loads((folder_of(instance) / cgroups.NAME).read_text()) if "memory" in group
    ]
    assert memory.is_dir()
    await instance.stop(grace=1.0)
    assert not memory.exists()
    assert not (folder_of(instance) / cgroups.NAME).exists()
    await provider.destroy(instance.ref)


@pytest.mark.skipif("pids" not in cgroups.available(), reason="no control groups can be made here")
async def test_a_workspace_has_no_more_processes_than_it_may(
    provider: LocalProvider, spec: InstanceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(provider._options, "pids_limit", 30)
    instance = await provider.create(spec.model_copy(update={"resources": ResourceAllocation()}))
    await instance.start()
    bomb = "import os, time\nfor n in range(100):\n  if not os.fork():\n    time.sleep(1000)"
    refused = await run(instance, sys.executable, "-c", bomb)
    assert "BlockingIOError" in refused.stderr
    await provider.destroy(instance.ref)


def folder_of(instance: LocalInstance) -> Path:
    return Path(instance.ref.handle or "")


V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_where_a_process_is_is_read_from_what_the_kernel_tells() -> None:
    there = cgroups.hierarchies(V1, "8:pids:/\n4:memory:/docker/abc/x\n1:cpu,cpuacct:/y\n0::/z\n")
    assert {(each.version, tuple(each.controllers), str(each.own)) for each in there} == {
        (1, ("cpu",), "/sys/fs/cgroup/cpu,cpuacct/y"),
        (1, ("memory",), "/sys/fs/cgroup/memory/x"),
        (1, ("pids",), "/sys/fs/cgroup/pids"),
        (2, (), "/sys/fs/cgroup/unified/z"),
    }
    (unified,) = cgroups.hierarchies(V2, "0::/user.slice/user-1000.slice/session-1.scope\n")
    assert str(unified.own) == "/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope"
    assert cgroups.hierarchies(V1, "4:memory:/elsewhere\n") == ()  # a group that is not to be seen from here
    assert cgroups.hierarchies("", "") == ()


def test_groups_of_version_2_are_made_where_they_are_given_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree of files in place of the kernel's: which files are written, and what is read back."""
    own = tmp_path / "user.slice" / "session.scope"
    own.mkdir(parents=True)
    for group, gives in ((tmp_path / "user.slice", "memory pids"), (own, "")):
        (group / "cgroup.controllers").write_text("cpu memory pids" if group != own else "")
        (group / "cgroup.subtree_control").write_text(gives)
        (group / "cgroup.procs").write_text("")
    there = cgroups.Hierarchy(2, frozenset(), PurePosixPath(tmp_path), PurePosixPath(own))
    monkeypatch.setattr(cgroups, "_here", lambda _=None: (there,))
    assert cgroups.available() == {"cpu", "memory", "pids"}
    made = tmp_path / "user.slice" / "nexus-w"
    made.mkdir()
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):
        (made / name).write_text("max")
    folder = tmp_path / "w"
    folder.mkdir()
    resources = ResourceAllocation(cpu=CpuAllocation(cores=1.5), memory=MemoryAllocation(bytes=64 * MIB, swap=MIB))
    cgroups.limit("w", 4321, folder, resources, 99)
    assert (tmp_path / "user.slice" / "cgroup.subtree_control").read_text() == "+cpu"
    said = {name: (made / name).read_text() for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")}
    assert said == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(MIB),
        "cpu.max": "150000 100000",
        "pids.max": "99",
    }
    assert (made / "cgroup.procs").read_text() == "4321"
    monkeypatch.setattr(cgroups, "_here", lambda _=None: (there._replace(own=PurePosixPath(made)),))
    assert cgroups.held(4321) == cgroups.Held(64 * MIB, 1.5, 99)
