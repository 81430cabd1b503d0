"""Limits as the engine has them, not as we asked for them."""

from __future__ import annotations

import pytest

from nexus.errors import ProviderError
from nexus.models.resources import (
    GB,
    CpuAllocation,
    MemoryAllocation,
    ResourceAllocation,
    StorageAllocation,
)
from nexus.providers.docker.client import EngineInfo
from nexus.providers.docker.container_config import limits_of, shortfall
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.provider import DockerProvider
from tests.engine.driving import sh
from tests.engine.raw import RawEngine
from tests.providers.docker.conftest import MakeSpec

MIB = 1024 * 1024
BIG = EngineInfo.model_validate({"NCPU": 64})


def allocation(cores: float, memory: int, **more: object) -> ResourceAllocation:
    return ResourceAllocation(
        cpu=CpuAllocation(cores=cores), memory=MemoryAllocation.model_validate({"bytes": memory, **more})
    )


def test_what_is_left_out_when_made_is_said_when_changed() -> None:
    plain = allocation(2, GB)
    assert limits_of(plain, BIG) == {"Memory": GB, "NanoCpus": 2_000_000_000, "CpuShares": 2048}
    assert limits_of(plain, BIG, changing=True) == {
        "Memory": GB,
        "NanoCpus": 2_000_000_000,
        "MemoryReservation": 0,
        "CpuShares": 2048,
        "MemorySwap": 2 * GB,
    }
    burst = ResourceAllocation(cpu=CpuAllocation(cores=1, limit=4))
    assert (limits_of(burst, BIG)["CpuShares"], limits_of(burst, BIG)["NanoCpus"]) == (1024, 4_000_000_000)
    full = limits_of(allocation(2, GB, limit=2 * GB, swap=0), BIG)
    assert (full["Memory"], full["MemoryReservation"], full["MemorySwap"]) == (2 * GB, GB, 2 * GB)


@pytest.mark.parametrize(
    ("driver", "backing", "bounded"),
    [
        ("overlay2", "extfs", False),
        ("overlay2", "xfs", True),
        ("btrfs", "", True),
        ("zfs", "zfs", True),
        ("vfs", "", False),
    ],
)
def test_which_storage_can_be_bounded(driver: str, backing: str, bounded: bool) -> None:
    info = EngineInfo.model_validate({"Driver": driver, "DriverStatus": [["Backing Filesystem", backing], ["Odd"]]})
    assert info.limits_storage is bounded


@pytest.mark.docker
async def test_limits_are_applied_read_back_and_changed(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine
) -> None:
    instance = await provider.create(make_spec(resources=allocation(1, 256 * MIB, swap=64 * MIB)))
    assert isinstance(instance, DockerInstance)
    await instance.start()
    told = await instance.stats()
    assert (told.cpu_limit, told.memory_limit, told.processes_limit) == (1, 256 * MIB, 4096)
    host = raw.container(instance.ref.handle or "")["HostConfig"]
    assert (host["MemorySwap"], host["NanoCpus"]) == (320 * MIB, 1_000_000_000)

    for memory, cores in ((512 * MIB, 0.5), (128 * MIB, 1)):
        await instance.resize(allocation(cores, memory))
        told = await instance.stats()
        assert (told.cpu_limit, told.memory_limit) == (cores, memory)
        assert raw.container(instance.ref.handle or "")["HostConfig"]["MemorySwap"] == 2 * memory
    seen = await sh(
        instance, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    )
    assert int(seen.out) == 128 * MIB
    with pytest.raises(ProviderError):
        await instance.resize(allocation(1, 1024 * 1024))  # less than the engine takes


@pytest.mark.docker
async def test_a_file_system_without_quotas_does_not_keep_a_workspace_from_being_made(
    provider: DockerProvider, make_spec: MakeSpec, raw: RawEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await provider._open().engine.info()
    if info.limits_storage:
        pytest.skip("this engine's storage can be bounded")
    assert "without a limit on disk space" in (await provider.probe()).detail
    monkeypatch.setattr(EngineInfo, "limits_storage", True)  # as XFS without project quotas claims
    resources = ResourceAllocation(storage=StorageAllocation(bytes=GB))
    instance = await provider.create(make_spec(resources=resources))
    assert not raw.container(instance.ref.handle or "")["HostConfig"].get("StorageOpt")


def test_more_cores_than_there_are_are_said_not_to_be_given() -> None:
    few = EngineInfo(ncpu=2)

    assert limits_of(allocation(4, GB), few)["NanoCpus"] == 2_000_000_000
    assert shortfall(allocation(4, GB), few) == (
        "4 cores are asked for, and the engine has 2: more than those cannot be given"
    )
    assert shortfall(allocation(2, GB), few) is None
    assert shortfall(allocation(4, GB), EngineInfo()) is None


@pytest.mark.docker
async def test_scratch_space_is_in_memory_bounded_and_gone_with_a_stop(
    provider: DockerProvider, make_spec: MakeSpec
) -> None:
    resources = ResourceAllocation(
        memory=MemoryAllocation(bytes=256 * 1024 * 1024), storage=StorageAllocation(ephemeral=8 * 1024 * 1024)
    )
    spec = make_spec(resources=resources)  # its tree may lie below /tmp of this host, and is still there
    instance = await provider.create(spec)
    await instance.start()
    script = "echo 'echo ran' >/tmp/tool; chmod +x /tmp/tool; /tmp/tool; head -c 16777216 /dev/zero >/tmp/big || echo full; echo x >made"
    assert (await sh(instance, script)).out.decode().split() == ["ran", "full"]
    assert (spec.worktree / "made").read_text() == "x\n"
    await instance.stop(grace=1)
    await instance.start()
    assert (await sh(instance, "ls /tmp; cat made")).out.decode().split()[-1] == "x"
    assert (await sh(instance, "test -e /tmp/tool || echo gone")).out == b"gone\n"
