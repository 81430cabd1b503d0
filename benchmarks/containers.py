"""Docker workspaces beside the engine's own calls on the same engine: create → first command, switch, command → first byte."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import aiodocker
import anyio
from pydantic import JsonValue

import nexus
from benchmarks.engine import BareEngine
from benchmarks.harness import Sample, beside, timed
from benchmarks.surroundings import isolated
from nexus.testing.engines import running_engine
from nexus.testing.git import make_repository
from nexus.testing.images import TINY_IMAGE, import_tiny_image

PORTS = {"ports.web.container": 3000}


@asynccontextmanager
async def _opened(folder: Path, socket: str) -> AsyncGenerator[nexus.WorkspaceManager, None]:
    root = folder / "app"
    if not root.exists():
        make_repository(root, {f"src/f{number}.py": f"x = {number}\n" for number in range(100)})
    flags: dict[str, JsonValue] = {"backend": "docker", "image": TINY_IMAGE, "backends.docker.socket": socket, **PORTS}
    async with nexus.open(root, flags=flags) as nx:
        yield nx


async def _create(nx: nexus.WorkspaceManager, bare: BareEngine, rounds: int) -> Sample:
    names, subnets = (f"bench-{n}" for n in count()), (f"10.88.{n % 250}.0/28" for n in count())

    async def ours() -> float:
        begun = time.perf_counter()
        ws = await nx.create(next(names))
        await ws.exec("true", check=True)
        seconds = time.perf_counter() - begun
        await ws.destroy()
        return seconds

    async def theirs() -> float:
        begun = time.perf_counter()
        container = await bare.up(next(subnets))
        await bare.first_byte(container)
        seconds = time.perf_counter() - begun
        await bare.down(container)
        return seconds

    raw = "network + create + start + exec"
    return await beside("create → first command", ours, raw, theirs, rounds=rounds, at_most=1.3)


async def _switch(nx: nexus.WorkspaceManager, bare: BareEngine, rounds: int) -> Sample:
    await nx.create("left")
    await nx.create("right")
    await nx.switch("left")
    await nx.switch("right")
    one, two = await bare.up("10.89.0.0/28"), await bare.up("10.89.1.0/28")
    await two.pause()
    targets = iter(["left", "right"] * (rounds + 4))
    asleep = [two, one]

    async def ours() -> float:
        return await timed(lambda: nx.switch(next(targets)))

    async def theirs() -> float:
        async def swap() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(asleep[1].pause)
                group.start_soon(asleep[0].unpause)

        seconds = await timed(swap)
        asleep.reverse()
        return seconds

    try:
        return await beside("switch, both alive", ours, "pause ∥ unpause", theirs, rounds=rounds * 2, at_most=1.5)
    finally:
        await asleep[0].unpause()
        await bare.down(two)
        await bare.down(one)
        await nx.destroy("left")
        await nx.destroy("right")


async def _command(nx: nexus.WorkspaceManager, bare: BareEngine, rounds: int) -> Sample:
    ws = await nx.create("commands")
    container = await bare.up("10.90.0.0/28")

    async def ours() -> float:
        begun = time.perf_counter()
        async with ws.spawn("echo", "x") as process:
            async for event in process:
                if isinstance(event, nexus.Output):
                    return time.perf_counter() - begun
        raise AssertionError

    try:
        return await beside(
            "command → first byte, docker",
            ours,
            "the engine's exec",
            lambda: timed(lambda: bare.first_byte(container)),
            rounds=rounds * 2,
            at_most=0.15,
        )
    finally:
        await bare.down(container)
        await ws.destroy()


async def run(rounds: int) -> list[Sample]:
    """Measure on the engine that answers, or on one started for it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        async with running_engine() as socket:
            await import_tiny_image(socket)
            async with _opened(Path(folder), socket) as nx, aiodocker.Docker(url=socket) as docker:
                bare = BareEngine(docker)
                return [
                    await _create(nx, bare, rounds),
                    await _switch(nx, bare, rounds),
                    await _command(nx, bare, rounds),
                ]
