"""Docker workspaces beside the engine's own calls on the same engine: create → first command, switch, command → first byte."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import anyio
from pydantic import JsonValue

import nexus
from benchmarks.engine import BareEngine, engine_for, opened
from benchmarks.harness import Effort, Sample, beside, judged, percentile, timed
from benchmarks.surroundings import isolated
from nexus.testing.images import TINY_IMAGE

_SERVICES: dict[str, JsonValue] = {"services.db.image": TINY_IMAGE, "services.db.command": ["sleep", "1000000"]}


async def _create(nx: nexus.WorkspaceManager, bare: BareEngine, effort: Effort) -> Sample:
    names = (f"bench-{n}" for n in count())

    async def ours() -> float:
        begun = time.perf_counter()
        ws = await nx.create(next(names))
        await ws.exec("true", check=True)
        seconds = time.perf_counter() - begun
        await ws.destroy()
        return seconds

    async def theirs() -> float:
        begun = time.perf_counter()
        container = await bare.up()
        await bare.run(container)
        seconds = time.perf_counter() - begun
        await bare.down(container)
        return seconds

    raw = "network + create + start + exec"
    return await beside("create → first command", ours, raw, theirs, effort=effort, at_most=1.3)


class _Swap:
    """The engine's own side of a switch: one group of containers is paused while the other is resumed."""

    def __init__(self, awake: Sequence[Any], asleep: Sequence[Any]) -> None:
        self._awake, self._asleep = awake, asleep
        self.seen: list[float] = []

    async def once(self) -> float:
        async def swap() -> None:
            async with anyio.create_task_group() as group:
                for container in self._awake:
                    group.start_soon(container.pause)
                for container in self._asleep:
                    group.start_soon(container.unpause)

        seconds = await timed(swap)
        self._awake, self._asleep = self._asleep, self._awake
        self.seen.append(1000 * seconds)
        return seconds


async def _switch(nx: nexus.WorkspaceManager, bare: BareEngine, effort: Effort, *, services: bool) -> list[Sample]:
    name = "switch with a service each" if services else "switch, both alive"
    left, right = [await bare.up()], [await bare.up()]
    taken: list[float] = []
    try:
        for each in ("left", "right"):
            await nx.create(each)
        for each in ("left", "right"):
            await nx.switch(each)
        if services:
            for side in (left, right):
                side.append(await bare.beside((await side[0].show())["HostConfig"]["NetworkMode"]))
        for container in right:
            await container.pause()
        targets = (each for _ in count() for each in ("left", "right"))
        swap = _Swap(left, right)

        async def ours() -> float:
            seconds = await timed(lambda: nx.switch(next(targets)))
            taken.append(1000 * seconds)
            return seconds

        first = await beside(name, ours, "pause ∥ unpause", swap.once, effort=effort.times(4), at_most=1.5)
    finally:
        for container in reversed([*left, *right]):
            await bare.down(container)
        for each in ("left", "right"):
            await nx.destroy(each, force=True)
    limit = round(5 * statistics.median(swap.seen), 1)
    slowest = percentile(taken[1:], 0.99)
    last = judged(f"{name}, p99", [slowest], limit_ms=limit)
    return [first] if services else [first, replace(last, rounds=len(taken) - 1, budget=f"≤ {limit:g} ms = 5 x")]


async def _command(nx: nexus.WorkspaceManager, bare: BareEngine, effort: Effort) -> Sample:
    ws = await nx.create("commands")
    container = await bare.up()

    async def ours() -> float:
        begun, printed = time.perf_counter(), 0.0
        async with ws.spawn("echo", "x") as process:
            async for event in process:
                if isinstance(event, nexus.Output):
                    printed = printed or time.perf_counter()
        return printed - begun

    try:
        return await beside(
            "command → first byte, docker",
            ours,
            "the engine's exec",
            lambda: timed(lambda: bare.first_byte(container)),
            effort=effort.times(2),
            at_most=0.15,
            warm_up=3,
        )
    finally:
        await bare.down(container)
        await ws.destroy()


async def run(effort: Effort) -> list[Sample]:
    """Measure on the engine that answers, or on one started for it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        async with engine_for(Path(folder)) as (socket, bare):
            async with opened(Path(folder), socket) as nx:
                samples = [
                    await _create(nx, bare, effort),
                    await _command(nx, bare, effort),
                    *await _switch(nx, bare, effort, services=False),
                ]
            async with opened(Path(folder), socket, _SERVICES) as nx:
                return [*samples, *await _switch(nx, bare, effort, services=True)]
