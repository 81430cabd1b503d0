"""How much of the machine a workspace may use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field

from nexus.models.base import Model
from nexus.models.units import Size

GB: Final = 1024**3

ResourceClass = Literal["small", "medium", "large", "xlarge"]
Cores = Annotated[float, Field(gt=0, le=4096)]


class CpuAllocation(Model):
    """Processor time."""

    cores: Cores = 2
    """Cores the workspace is meant to have."""
    limit: Cores | None = None
    """Hard limit in cores; ``cores`` when absent."""


class MemoryAllocation(Model):
    """Main memory, in bytes."""

    bytes: Size = 4 * GB
    """Memory the workspace is meant to have."""
    limit: Size | None = None
    """Hard limit; ``bytes`` when absent."""
    swap: Size | None = None
    """Swap on top of the limit; the backend's default when absent."""


class StorageAllocation(Model):
    """Disk space, in bytes."""

    bytes: Size = 50 * GB
    """Primary storage."""
    ephemeral: Size | None = None
    """Scratch space that does not survive a stop, in memory; part of what the container holds when absent."""


class ResourceAllocation(Model):
    """What a workspace is given."""

    cpu: CpuAllocation = CpuAllocation()
    memory: MemoryAllocation = MemoryAllocation()
    storage: StorageAllocation = StorageAllocation()

    @property
    def cpu_limit(self) -> float:
        """The hard limit in cores."""
        return self.cpu.limit if self.cpu.limit is not None else self.cpu.cores

    @property
    def memory_limit(self) -> int:
        """The hard limit in bytes."""
        return self.memory.limit if self.memory.limit is not None else self.memory.bytes


def _allocation(cores: float, memory: int, storage: int) -> ResourceAllocation:
    return ResourceAllocation(
        cpu=CpuAllocation(cores=cores),
        memory=MemoryAllocation(bytes=memory * GB),
        storage=StorageAllocation(bytes=storage * GB),
    )


RESOURCE_CLASSES: Final[Mapping[ResourceClass, ResourceAllocation]] = MappingProxyType(
    {
        "small": _allocation(1, 2, 20),
        "medium": _allocation(2, 4, 50),
        "large": _allocation(4, 8, 100),
        "xlarge": _allocation(8, 16, 200),
    }
)
