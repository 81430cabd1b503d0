from __future__ import annotations

import os
import sys

from hypothesis import given
from hypothesis import strategies as st

from nexus.models.execution import ExecResult, SpawnRequest
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceSpec
from nexus.models.resources import CpuAllocation, MemoryAllocation, ResourceAllocation
from nexus.providers.local import LocalProvider
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
    provider: LocalProvider, spec: InstanceSpec
) -> None:
    limits = ResourceAllocation(cpu=CpuAllocation(cores=0.5), memory=MemoryAllocation(bytes=300 * MIB))
    instance = await provider.create(spec.model_copy(update={"resources": limits}))
    await instance.start()
    everywhere = len(os.sched_getaffinity(0))
    here = await run(instance, sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))")
    assert int(here.stdout) == 1
    assert (await instance.stats()).cpu_limit == (1 if (os.cpu_count() or 1) > 1 else None)
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


async def test_what_is_not_limited_is_said(provider: LocalProvider) -> None:
    assert "disk space and the number of processes are not" in (await provider.probe()).detail
