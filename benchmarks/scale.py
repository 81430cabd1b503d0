"""``python -m benchmarks.scale [--quick] [--write]``: what the next workspace costs beside those that run, and fifty at once.

Workspaces of a tiny image are added to one engine in steps. At each step the same things are measured: making one more and running
a command in it, a switch between the two oldest, a command, the list, and the memory of this process for each.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

import nexus
from benchmarks import report
from benchmarks.counting import memory
from benchmarks.engine import engine_for, opened
from benchmarks.harness import percentile, timed
from benchmarks.plot import Line, lines
from benchmarks.surroundings import isolated
from nexus.errors import NexusError, ProviderUnavailable

STEPS: Final = (2, 20, 40, 60, 80, 100)
QUICK: Final = (2, 4)
AT_ONCE: Final = 50
_LANES: Final = 4
"""Workspaces that are made, and removed, at a time between two steps."""
_LOOKS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Step:
    """What was measured with so many workspaces running; milliseconds, and MiB for memory."""

    running: int
    create: float
    switch: float
    command: float
    listing: float
    memory: float


@dataclass(frozen=True, kw_only=True)
class Burst:
    """Workspaces that were asked for in the same moment."""

    asked: int
    made: int
    median: float
    p95: float
    whole: float
    failures: tuple[str, ...]


async def _at_once(acts: Sequence[Callable[[], Awaitable[object]]], lanes: int) -> None:
    free = anyio.CapacityLimiter(lanes)

    async def take(act: Callable[[], Awaitable[object]]) -> None:
        async with free:
            await act()

    async with anyio.create_task_group() as group:
        for act in acts:
            group.start_soon(take, act)


async def _ready(nx: nexus.WorkspaceManager, name: str) -> None:
    await (await nx.create(name)).exec("true", check=True)


async def _measure(nx: nexus.WorkspaceManager, number: int) -> Step:
    create = await timed(lambda: _ready(nx, f"w{number}"))
    ws = await nx.attach(f"w{number}")
    commands = [await timed(lambda: ws.exec("true")) for _ in range(_LOOKS)]
    listings = [await timed(nx.list) for _ in range(_LOOKS)]
    switches = [await timed(lambda name=name: nx.switch(name)) for name in ("w1", "w2") * (_LOOKS // 2 + 1)]  # type: ignore[misc]
    await nx.start("w1")  # the one that the last switch put to sleep
    step = Step(
        running=number,
        create=1000 * create,
        switch=1000 * statistics.median(switches[2:]),
        command=1000 * statistics.median(commands),
        listing=1000 * statistics.median(listings),
        memory=memory(),
    )
    print(step, file=sys.stderr)
    return step


async def grow(nx: nexus.WorkspaceManager, steps: Sequence[int]) -> list[Step]:
    """Add workspaces up to each step and measure there; all of them are removed at the end."""
    there = 0
    measured: list[Step] = []
    try:
        await _ready(nx, "w1")
        there = 1
        for step in steps:
            names = [f"w{number}" for number in range(there + 1, step)]
            await _at_once([lambda name=name: _ready(nx, name) for name in names], _LANES)  # type: ignore[misc]
            measured.append(await _measure(nx, step))
            there = step
    finally:
        with anyio.CancelScope(shield=True):
            await _remove_all(nx)
    return measured


async def burst(nx: nexus.WorkspaceManager, asked: int) -> Burst:
    """Ask for so many in the same moment; a workspace counts when a command has succeeded in it."""
    taken: list[float] = []
    failures: list[str] = []

    async def one(number: int) -> None:
        try:
            taken.append(await timed(lambda: _ready(nx, f"b{number}")))
        except NexusError as error:
            failures.append(f"{error.code}: {error.message}")

    begun = time.perf_counter()
    try:
        async with anyio.create_task_group() as group:
            for number in range(asked):
                group.start_soon(one, number)
        whole = time.perf_counter() - begun
    finally:
        with anyio.CancelScope(shield=True):
            await _remove_all(nx)
    median, p95 = (statistics.median(taken), percentile(taken, 0.95)) if taken else (0.0, 0.0)
    return Burst(asked=asked, made=len(taken), median=median, p95=p95, whole=whole, failures=tuple(failures))


async def _remove_all(nx: nexus.WorkspaceManager) -> None:
    names = [entry.name for entry in await nx.list()]
    await _at_once([lambda name=name: nx.destroy(name, force=True) for name in names], _LANES)  # type: ignore[misc]


def plot(steps: Sequence[Step]) -> str:
    """Return the plot of how cost grows."""

    def line(label: str, value: Callable[[Step], float]) -> Line:
        return Line(label, [(step.running, value(step)) for step in steps])

    return lines(
        "The next workspace beside those that run",
        "workspaces running on one engine",
        {
            "create → first command, ms": [line("create", lambda step: step.create)],
            "switch and command, ms": [
                line("switch", lambda step: step.switch),
                line("command", lambda step: step.command),
            ],
            "list of all, ms": [line("list", lambda step: step.listing)],
            "memory of this process, MiB": [line("memory", lambda step: step.memory)],
        },
    )


def section(machine: str, steps: Sequence[Step], fifty: Burst) -> str:
    """Return the section of the page."""
    head = ("running", "create → first command", "switch", "command", "list of all", "memory of this process")
    body = [
        (
            f"{step.running}",
            f"{step.create:,.0f} ms",
            f"{step.switch:,.0f} ms",
            f"{step.command:,.1f} ms",
            f"{step.listing:,.1f} ms",
            f"{step.memory:,.0f} MiB",
        )
        for step in steps
    ]
    image = "![Cost of the next workspace beside those that run](scale.svg)"
    return f"{machine}.\n\n{image}\n\n{report.grid(head, body)}\n\n{told(fifty)}"


def told(fifty: Burst) -> str:
    """Return what became of a burst, in a sentence."""
    share = 100 * fifty.made / fifty.asked
    failed = f" Failed: {'; '.join(sorted(set(fifty.failures)))}." if fifty.failures else ""
    return (
        f"{fifty.asked} asked for in the same moment: {fifty.made} ran a command ({share:.0f} %), median {fifty.median:.1f} s, "
        f"p95 {fifty.p95:.1f} s, all after {fifty.whole:.1f} s.{failed}"
    )


async def run(steps: Sequence[int], asked: int) -> tuple[str, list[Step], Burst]:
    """Measure on the engine that answers, or on one started for it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        async with engine_for(Path(folder)) as (socket, bare), opened(Path(folder), socket) as nx:
            machine = report.machine(f"engine {await bare.version()}")
            fifty = await burst(nx, asked)
            return machine, await grow(nx, steps), fifty


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a handful: to see that it runs")
    parser.add_argument(
        "--write", action="store_true", help="write docs/scale.svg and the section of docs/benchmarks.md"
    )
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what a quick run measures is not worth writing down")
    try:
        machine, steps, fifty = anyio.run(run, QUICK if options.quick else STEPS, 5 if options.quick else AT_ONCE)
    except ProviderUnavailable as missing:
        sys.exit(f"left out: {missing}")
    content = section(machine, steps, fifty)
    print(content)
    if options.write:
        report.write_section("scale", content)
        report.write_plot("scale.svg", plot(steps))


if __name__ == "__main__":
    main()
