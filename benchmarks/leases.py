"""Leasing ports on a full node: 220 workspaces are there already."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import Effort, Sample, alone, timed
from nexus import NodeRegistry, PortAllocator
from nexus.models.ids import new_workspace_id
from nexus.models.ports import PortRequest

REQUESTS = (PortRequest(name="web", container=3000), PortRequest(name="api", container=5000))


async def run(effort: Effort) -> list[Sample]:
    """Measure one lease beside 219 others, with the probes of its ports."""
    with tempfile.TemporaryDirectory() as folder:
        allocator = PortAllocator(NodeRegistry(Path(folder) / "workspaces.db"))
        for number in range(219):
            await allocator.allocate(new_workspace_id(), key=f"/app:w{number}", backend="docker", requests=REQUESTS)

        async def lease() -> float:
            owner = new_workspace_id()
            seconds = await timed(
                lambda: allocator.allocate(owner, key="/app:mine", backend="docker", requests=REQUESTS)
            )
            await allocator.release(owner)
            return seconds

        return [await alone("lease with 220 workspaces", lease, effort=effort.times(5), limit_ms=2)]
