"""Local workspaces: command → first byte beside a bare subprocess, and creation → first command."""

from __future__ import annotations

import tempfile
import time
from itertools import count
from pathlib import Path

import anyio

import nexus
from benchmarks.harness import Effort, Sample, alone, beside, timed
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository


async def run(effort: Effort) -> list[Sample]:
    """Measure in a repository of a hundred files."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {f"src/f{number}.py": f"x = {number}\n" for number in range(100)})
        async with nexus.open(root, flags={"backend": "local"}) as nx:
            names = (f"bench-{number}" for number in count())

            async def create() -> float:
                begun = time.perf_counter()
                ws = await nx.create(next(names))
                await ws.exec("true", check=True)
                seconds = time.perf_counter() - begun
                await ws.destroy()
                return seconds

            ws = await nx.create("commands")
            bare = await beside(
                "run a command, local",
                lambda: timed(lambda: ws.exec("echo", "x")),
                "a bare subprocess",
                lambda: timed(lambda: anyio.run_process(["echo", "x"])),
                effort=effort.times(5),
            )
            await ws.destroy()
            return [bare, await alone("create → first command, local", create, effort=effort)]
