"""``python -m benchmarks.soak [--quick] [--write] [--backend local]``: is anything left after a long day's work?

Commands, switches, and workspaces made and destroyed, all through one open manager. After a warm-up, in which caches and pools fill,
everything that could pile up is counted before and after.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiodocker
import anyio

import nexus
from benchmarks import report
from benchmarks.counting import Counts, count
from benchmarks.engine import engine_for, opened
from benchmarks.surroundings import isolated
from nexus.errors import ProviderUnavailable
from nexus.testing.git import make_repository

_THINGS: Final = ("descriptors", "threads", "tasks", "children", "containers", "networks")
_LANES: Final = 4
"""Commands that run, and workspaces that are made, at a time."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is done."""

    commands: int = 10_000
    switches: int = 1_000
    workspaces: int = 200
    printed: int = 1 << 30
    """Bytes that one command prints, which are read and dropped."""

    @property
    def half(self) -> Load:
        """Half of it."""
        return Load(
            commands=self.commands // 2,
            switches=self.switches // 2,
            workspaces=self.workspaces // 2,
            printed=self.printed // 2,
        )


FULL: Final = Load()
QUICK: Final = Load(commands=200, switches=20, workspaces=4, printed=1 << 22)
WARM_UP: Final = Load(commands=50, switches=4, workspaces=2, printed=1 << 22)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was done, and what there was around it."""

    load: Load
    before: Counts
    halfway: Counts
    """Caches go on filling for a while after the warm-up: from here on memory in use has to be flat as well."""
    after: Counts
    seconds: float

    @property
    def grown(self) -> tuple[str, ...]:
        """What there is more of than before; memory is not counted in things."""
        return grown(self.before, self.after)


def grown(before: Counts, after: Counts) -> tuple[str, ...]:
    """Return the names of the things that there are more of."""
    return tuple(name for name in _THINGS if getattr(after, name) > getattr(before, name))


async def _repeat(times: int, lanes: int, act: Callable[[], Awaitable[object]]) -> None:
    left = iter(range(times))

    async def lane() -> None:
        for _ in left:
            await act()

    async with anyio.create_task_group() as group:
        for _ in range(lanes):
            group.start_soon(lane)


async def work(nx: nexus.WorkspaceManager, load: Load) -> None:
    """Do it all: two workspaces are there, ``left`` and ``right``."""
    ws = await nx.attach("left")
    await ws.start()

    async def command() -> None:
        done = await ws.exec("echo", "x")
        if done.stdout != "x\n":
            raise AssertionError(done)

    await _repeat(load.commands, _LANES, command)
    await _read_away(ws, load.printed)
    for number in range(load.switches):
        await nx.switch("right" if number % 2 else "left")
    names = (f"soak-{number}" for number in range(load.workspaces))

    async def workspace() -> None:
        fresh = await nx.create(next(names))
        await fresh.exec("true", check=True)
        await fresh.destroy()

    await _repeat(load.workspaces, _LANES, workspace)


async def _read_away(ws: nexus.Workspace, size: int) -> None:
    """Let one command print so many bytes, keep none of them, and count them."""
    seen = 0
    async with ws.spawn("head", "-c", str(size), "/dev/zero") as process:
        async for event in process:
            seen += len(event.data) if isinstance(event, nexus.Output) else 0
    if seen != size:
        msg = f"{seen} of {size} bytes came"
        raise AssertionError(msg)


async def soak(
    nx: nexus.WorkspaceManager, load: Load, docker: aiodocker.Docker | None, *, warm_up: Load = WARM_UP
) -> Outcome:
    """Warm up, count, do half of the work, count, do the other half, count."""
    for name in ("left", "right"):
        await nx.create(name)
    try:
        await work(nx, warm_up)
        before = await count(docker, nx.repository.root)
        begun = time.perf_counter()
        await work(nx, load.half)
        halfway = await _settled(nx, docker, before)
        await work(nx, load.half)
        seconds = time.perf_counter() - begun
        after = await _settled(nx, docker, before)
        return Outcome(load=load, before=before, halfway=halfway, after=after, seconds=seconds)
    finally:
        with anyio.CancelScope(shield=True):
            for name in ("left", "right"):
                await nx.destroy(name, force=True)


async def _settled(nx: nexus.WorkspaceManager, docker: aiodocker.Docker | None, before: Counts) -> Counts:
    """Count once what is on its way out has gone: shells that end, trees that are deleted behind."""
    with anyio.move_on_after(10.0):
        while True:
            after = await count(docker, nx.repository.root)
            if not grown(before, after):
                return after
            await anyio.sleep(0.1)
    return await count(docker, nx.repository.root)


@asynccontextmanager
async def place(backend: str) -> AsyncGenerator[tuple[nexus.WorkspaceManager, aiodocker.Docker | None, str], None]:
    """Give an open manager on a backend, the engine to count on, and one line about the machine."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        if backend == "local":
            root = Path(folder) / "app"
            make_repository(root, {"a": "a\n"})
            async with nexus.open(root, flags={"backend": "local"}) as nx:
                yield nx, None, report.machine("local backend")
            return
        async with (
            engine_for(Path(folder)) as (socket, bare),
            opened(Path(folder), socket) as nx,
            aiodocker.Docker(url=socket) as docker,
        ):
            yield nx, docker, report.machine(f"engine {await bare.version()}")


def section(machine: str, outcome: Outcome) -> str:
    """Return the section of the page."""
    load = outcome.load
    done = (
        f"{load.commands:,} commands, two of them with {load.half.printed / (1 << 20):,.0f} MiB of output, {load.switches:,} switches, "
        f"{load.workspaces:,} workspaces made and destroyed"
    )
    counts = (outcome.before, outcome.halfway, outcome.after)
    body: list[Sequence[str]] = [(name, *(f"{getattr(each, name):g}" for each in counts)) for name in _THINGS]
    body.append(("memory", *(f"{each.memory:.1f} MiB" for each in counts)))
    body.append(("… without what is free again", *(f"{each.memory - each.freed:.1f} MiB" for each in counts)))
    verdict = f"Grown: {', '.join(outcome.grown)}." if outcome.grown else "Nothing has grown."
    grid = report.grid(("", "before", "halfway", "after"), body)
    return f"{machine}. {done}, in {outcome.seconds:,.0f} s.\n\n{grid}\n\n{verdict}"


async def run(backend: str, load: Load) -> tuple[str, Outcome]:
    """Soak one backend."""
    async with place(backend) as (nx, docker, machine):
        return machine, await soak(nx, load, docker)


def main() -> None:
    """Read the options, run, print; a status other than zero when something has grown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--backend", choices=("docker", "local"), default="docker")
    parser.add_argument("--quick", action="store_true", help="little work: to see that it runs")
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmarks.md")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what a quick run measures is not worth writing down")
    try:
        machine, outcome = anyio.run(run, options.backend, QUICK if options.quick else FULL)
    except ProviderUnavailable as missing:
        sys.exit(f"left out: {missing}")
    content = section(machine, outcome)
    print(content)
    if options.write:
        report.write_section("soak", content)
    sys.exit(1 if outcome.grown else 0)


if __name__ == "__main__":
    main()
