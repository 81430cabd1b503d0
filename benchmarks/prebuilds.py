"""A new Docker workspace from a prebuilt image, beside one whose ``pre-start`` runs: create → first command."""

from __future__ import annotations

import json
import tempfile
import time
from itertools import count
from pathlib import Path

import aiodocker
from pydantic import JsonValue

import nexus
from benchmarks.harness import Effort, Sample, beside
from benchmarks.surroundings import isolated
from nexus.testing.engines import running_engine
from nexus.testing.git import make_repository
from nexus.testing.images import TINY_IMAGE, import_tiny_image

_FILES = 2000
# What installing does, without a registry: many small files, each written by a program of its own.
_SCRIPT = (
    f"mkdir -p node_modules && cd node_modules && for n in $(seq {_FILES}); do cat ../package-lock.json >m$n; done"
)


async def run(effort: Effort) -> list[Sample]:
    """Measure on an engine that is there, or on one of our own."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        async with running_engine() as socket:
            await import_tiny_image(socket)
            flags: dict[str, JsonValue] = {"backend": "docker", "image": TINY_IMAGE, "backends.docker.socket": socket}
            async with nexus.open(_project(Path(folder) / "app"), flags=flags) as nx:
                outcome = await nx.prebuild()
                try:
                    return [await _create(nx, effort)]
                finally:
                    await _remove(socket, outcome.prebuild.key if outcome.prebuild else "")


def _project(root: Path) -> Path:
    config = f"scripts: {{pre-start: {json.dumps(_SCRIPT)}}}\nprebuild: {{inputs: [package-lock.json]}}\n"
    make_repository(root, {"package-lock.json": "{}\n", ".gitignore": "node_modules/\n", ".nexus/config.yaml": config})
    return root


async def _create(nx: nexus.WorkspaceManager, effort: Effort) -> Sample:
    names = (f"bench-{n}" for n in count())

    async def made(settings: dict[str, JsonValue]) -> float:
        begun = time.perf_counter()
        ws = await nx.create(next(names), settings=settings)
        await ws.exec("true", check=True)
        seconds = time.perf_counter() - begun
        await nx.destroy(ws.name, force=True)
        return seconds

    return await beside(
        f"create with a prebuilt image, {_FILES:,} files",
        lambda: made({}),
        "the same with pre-start",
        lambda: made({"prebuild.enabled": False}),
        effort=effort,
        at_most=0.7,
    )


async def _remove(socket: str, key: str) -> None:
    """Remove the image: the repository that it was made for goes with its folder."""
    async with aiodocker.Docker(url=socket) as docker:
        await docker.images.delete(f"nexus-prebuild:{key}", force=True)
