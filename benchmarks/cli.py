"""Whole processes of ``boulder``, beside an interpreter that does nothing, and how many modules each loads."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

import nexus
from benchmarks.harness import Effort, Sample, beside, timed
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository

_WORKSPACES: Final = 10
_COMMANDS: Final = {
    "boulder ws list": ["ws", "list"],
    "boulder ws exec": ["ws", "exec", "w0", "--", "true"],
}


async def _process(*arguments: str, cwd: Path) -> float:
    return await timed(lambda: anyio.run_process([sys.executable, *arguments], cwd=cwd, stderr=subprocess.DEVNULL))


def modules_of(arguments: Sequence[str], cwd: Path) -> int:
    """Return how many modules a command loads."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return sum(line.startswith("import time:") for line in done.stderr.splitlines())


async def _beside_nothing(name: str, words: Sequence[str], root: Path, effort: Effort) -> Sample:
    """Measure ``boulder`` with these words beside an interpreter that does nothing."""
    command = ["-m", "cli_example", *words]
    sample = await beside(
        name,
        lambda: _process(*command, cwd=root),
        "python -c pass",
        lambda: _process("-c", "pass", cwd=root),
        effort=effort,
    )
    loaded = await anyio.to_thread.run_sync(modules_of, command, root)
    return replace(sample, name=f"{sample.name} ({loaded} modules)")


async def run(effort: Effort) -> list[Sample]:
    """Measure in a repository with ten workspaces, one of which runs; then again with its daemon."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {"a": "a\n"})
        async with nexus.open(root, flags={"backend": "local"}) as nx:
            for number in range(_WORKSPACES):
                await nx.create(f"w{number}", start=number == 0)
            samples = [await _beside_nothing("boulder --help", ["--help"], root, effort)]
            for name, words in _COMMANDS.items():
                samples.append(await _beside_nothing(name, words, root, effort))
            await nexus.start_daemon(root)
            try:
                for name, words in _COMMANDS.items():
                    samples.append(await _beside_nothing(f"{name}, with a daemon", words, root, effort))
            finally:
                await nexus.stop_daemon(root)
            for number in range(_WORKSPACES):
                await nx.destroy(f"w{number}")
        return samples
