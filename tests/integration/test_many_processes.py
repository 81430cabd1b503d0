"""Several processes at work in one repository at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import pytest

import nexus
from nexus.models.workspace import WorkspaceStatus
from tests.workbench import Bench, leftovers, make_bench

CHILD = textwrap.dedent(
    """
    import json, sys
    import anyio
    import nexus

    first, repository, flags = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])

    async def main():
        async with nexus.open(repository, flags=flags) as nx, anyio.create_task_group() as group:
            for number in range(first, first + 5):
                group.start_soon(create, nx, f"w{number}")

    async def create(nx, name):
        await nx.create(name)

    anyio.run(main)
    """
)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["local", pytest.param("docker", marks=pytest.mark.docker)])
async def test_twenty_workspaces_from_four_processes(
    backend: str, request: pytest.FixtureRequest, repository: Path, tmp_path: Path
) -> None:
    place: Bench = make_bench(backend, repository, tmp_path, request)
    place.extra = {"ports.web.container": 3000}
    flags = json.dumps({**place.flags, **place.extra})
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(first), str(repository), flags],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (0, 5, 10, 15)
    ]
    for child in children:
        _, errors = child.communicate(timeout=100)
        assert child.returncode == 0, errors
    async with place.open() as nx:
        entries = [entry for entry in await nx.list() if isinstance(entry, nexus.WorkspaceInfo)]
        assert sorted(entry.name for entry in entries) == sorted(f"w{number}" for number in range(20))
        assert {entry.status for entry in entries} == {WorkspaceStatus.RUNNING}
        assert len({entry.ports[0].host_port for entry in entries}) == 20
        async with anyio.create_task_group() as group:
            for entry in entries:
                group.start_soon(nx.destroy, entry.name)
    assert await leftovers(place) == []
