"""Checkpoints and forks of a docker workspace with a file system of one gigabyte, beside the engine's own commit, create and start."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiodocker
from pydantic import JsonValue

import nexus
from benchmarks.harness import Effort, Sample, alone, beside, timed
from benchmarks.surroundings import isolated
from nexus.testing.engines import running_engine
from nexus.testing.git import make_repository
from nexus.testing.images import TINY_IMAGE, import_tiny_image

SIZE_MB = 1024
LIMIT_MS = 2000.0
CHANGE = "head -c 1000000 /dev/urandom > /tmp/changed"
_KEEP_ALIVE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"]


@asynccontextmanager
async def _large_image(docker: aiodocker.Docker) -> AsyncGenerator[str, None]:
    """Give an image that holds a gigabyte; it is removed afterwards."""
    name = f"nexus-bench-large:{uuid.uuid4().hex[:8]}"
    fill = ["/bin/sh", "-c", f"dd if=/dev/zero of=/large bs=1048576 count={SIZE_MB} 2>/dev/null"]
    container = await docker.containers.run({"Image": TINY_IMAGE, "Cmd": fill})
    await container.wait()
    repository, _, tag = name.partition(":")
    await container.commit(repository=repository, tag=tag)
    await container.delete(force=True)
    try:
        yield name
    finally:
        await docker.images.delete(name, force=True)


class _Bare:
    """The engine's own calls."""

    def __init__(self, docker: aiodocker.Docker, image: str) -> None:
        self._docker = docker
        self._image = image

    async def begin(self) -> None:
        """Have a container run that has changed a little."""
        body = {"Image": self._image, "Cmd": ["/bin/sh", "-c", f"{CHANGE}; exec sleep 100000"]}
        self._container = await self._docker.containers.run(body)

    async def commit(self) -> float:
        """Pause, commit, go on."""
        name = f"nexus-bench-kept-{uuid.uuid4().hex[:8]}"
        seconds = await timed(lambda: self._container.commit(repository=name, tag="x", pause=True))
        await self._docker.images.delete(f"{name}:x", force=True)
        return seconds

    async def fork(self) -> float:
        """Commit, make a network and a container, and start it."""
        name, begun = f"nexus-bench-kept-{uuid.uuid4().hex[:8]}", time.perf_counter()
        await self._container.commit(repository=name, tag="x", pause=True)
        network = await self._docker.networks.create({"Name": name, "Driver": "bridge"})
        body: dict[str, Any] = {
            "Image": f"{name}:x",
            "Cmd": _KEEP_ALIVE,
            "HostConfig": {"NetworkMode": name, "Init": True},
        }
        made = await self._docker.containers.create(body)
        await made.start()
        seconds = time.perf_counter() - begun
        await made.delete(force=True)
        await network.delete()
        await self._docker.images.delete(f"{name}:x", force=True)
        return seconds

    async def end(self) -> None:
        """Remove the container."""
        await self._container.delete(force=True)


async def _measure(ws: nexus.Workspace, nx: nexus.WorkspaceManager, bare: _Bare, effort: Effort) -> list[Sample]:
    names = (f"fork-{number}" for number in count())

    async def create() -> float:
        begun = time.perf_counter()
        mark = await ws.checkpoints.create()
        seconds = time.perf_counter() - begun
        await ws.checkpoints.delete(mark)
        return seconds

    async def restore() -> float:
        begun = time.perf_counter()
        done = await ws.checkpoints.restore("mark")
        seconds = time.perf_counter() - begun
        await ws.checkpoints.delete(done.undo)
        return seconds

    async def fork(at: str | None) -> float:
        name, begun = next(names), time.perf_counter()
        (made,) = await ws.fork([name], at=at)
        seconds = time.perf_counter() - begun
        if made.error is not None:
            raise RuntimeError(made.error.message)
        await nx.destroy(name, force=True)
        return seconds

    await ws.checkpoints.create("mark")
    raw = "commit + network + create + start"
    return [
        await beside("checkpoint, 1 GB", create, "pause + commit", bare.commit, effort=effort),
        await beside("restore a checkpoint, 1 GB", restore, raw, bare.fork, effort=effort),
        await beside("fork as it is now, 1 GB", lambda: fork(None), raw, bare.fork, effort=effort),
        await alone("fork of a checkpoint, 1 GB", lambda: fork("mark"), effort=effort, limit_ms=LIMIT_MS),
        await alone("fork as it is now, 1 GB", lambda: fork(None), effort=effort, limit_ms=LIMIT_MS),
    ]


async def run(effort: Effort) -> list[Sample]:
    """Measure on the engine that answers, or on one started for it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        async with running_engine() as socket, aiodocker.Docker(url=socket) as docker:
            await import_tiny_image(socket)
            async with _large_image(docker) as image:
                root = Path(folder) / "app"
                make_repository(root, {f"src/f{number}.py": f"x = {number}\n" for number in range(100)})
                flags: dict[str, JsonValue] = {"backend": "docker", "image": image, "backends.docker.socket": socket}
                bare = _Bare(docker, image)
                await bare.begin()
                try:
                    async with nexus.open(root, flags=flags) as nx, nx.create("bench", on_exit="keep") as ws:
                        await ws.shell(CHANGE, check=True)
                        try:
                            return await _measure(ws, nx, bare, effort)
                        finally:
                            await ws.destroy(force=True)
                finally:
                    await bare.end()
