"""Whole processes of ``boulder``, beside an interpreter that does nothing, and how many modules each loads."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio

import nexus
from benchmarks.harness import Effort, Sample, beside, timed
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository

_WORKSPACES = 10


async def _process(*arguments: str, cwd: Path) -> float:
    return await timed(lambda: anyio.run_process([sys.executable, *arguments], cwd=cwd, stderr=subprocess.DEVNULL))


def modules_of(arguments: Sequence[str], cwd: Path) -> int:
    """Return how many modules a command loads."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return sum(line.startswith("import time:") for line in done.stderr.splitlines())


async def run(effort: Effort) -> list[Sample]:
    """Measure in a repository with ten stopped workspaces."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {"a": "a\n"})
        async with nexus.open(root, flags={"backend": "local"}) as nx:
            for number in range(_WORKSPACES):
                await nx.create(f"w{number}", start=False)
            samples: list[Sample] = []
            for words in (["--help"], ["ws", "list"]):
                command = ["-m", "cli_example", *words]
                sample = await beside(
                    f"boulder {' '.join(words)}",
                    lambda command=command: _process(*command, cwd=root),  # type: ignore[misc]
                    "python -c pass",
                    lambda: _process("-c", "pass", cwd=root),
                    effort=effort,
                )
                loaded = await anyio.to_thread.run_sync(modules_of, command, root)
                samples.append(replace(sample, name=f"{sample.name} ({loaded} modules)"))
            for number in range(_WORKSPACES):
                await nx.destroy(f"w{number}")
        return samples
