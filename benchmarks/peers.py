"""``python -m benchmarks.peers [--quick] [--write]``: the same job on the bare engine, the dev container CLI, git, and here.

The job: a container for a folder of a hundred files, from an image that is on the engine, with a network and a port; a command in it;
and a worktree of 5,000 files. All sides take their turn in every round. What is not installed is left out, and said so;
``make bench-peers`` installs the dev container CLI from npm into ``.peers/``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import aiodocker
import anyio

import nexus
from benchmarks import report
from benchmarks.engine import BareEngine, engine_for, opened
from benchmarks.harness import Effort, Measured, Sample, compared, timed
from benchmarks.plot import Bar, bars
from benchmarks.surroundings import isolated
from benchmarks.worktrees import Trial, generate
from nexus.errors import ProviderUnavailable
from nexus.git import find_repository
from nexus.testing.git import make_repository
from nexus.testing.images import TINY_IMAGE

_CLI: Final = Path(__file__).parents[1] / ".peers" / "node_modules" / ".bin" / "devcontainer"
_OURS: Final = "nexus"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, done by several in turn."""

    name: str
    sides: Mapping[str, Measured]
    """By who does it; ours is the first."""
    budgets: Mapping[str, float]
    """How much of another side's time ours may take."""


async def measure(job: Job, rounds: int) -> dict[str, list[float]]:
    """Return each side's milliseconds, round by round; a first round is not counted."""
    taken: dict[str, list[float]] = {side: [] for side in job.sides}
    for number in range(rounds + 1):
        for side, act in job.sides.items():
            seconds = await act()
            if number:
                taken[side].append(1000 * seconds)
    print(f"{job.name}: done", file=sys.stderr)
    return taken


def judge(job: Job, taken: Mapping[str, Sequence[float]]) -> list[Sample]:
    """Return ours beside each of the others."""
    ours, *others = job.sides
    return [
        compared(job.name, list(zip(taken[ours], taken[other], strict=True)), other, at_most=job.budgets.get(other))
        for other in others
    ]


async def _run(*command: str | Path, cwd: Path) -> float:
    """Return the seconds that a whole process took; it has to succeed."""
    words = [str(word) for word in command]
    return await timed(lambda: anyio.run_process(words, cwd=cwd, stderr=subprocess.PIPE))


class DevContainers:
    """The dev container CLI, on a folder of its own.

    Args:
        docker: The engine that it uses too.
        folder: The folder; made here.
    """

    def __init__(self, docker: aiodocker.Docker, folder: Path) -> None:
        self._docker = docker
        self.folder = folder
        settings = {"image": TINY_IMAGE, "updateRemoteUserUID": False, "appPort": ["127.0.0.1::3000"]}
        make_repository(folder, {f"src/f{number}.py": f"x = {number}\n" for number in range(100)})
        (folder / ".devcontainer.json").write_text(json.dumps(settings))

    async def up(self) -> float:
        """Make the container and return the seconds."""
        return await _run(_CLI, "up", "--workspace-folder", self.folder, cwd=self.folder)

    async def command(self) -> float:
        """Run a command in it and return the seconds."""
        return await _run(_CLI, "exec", "--workspace-folder", self.folder, "true", cwd=self.folder)

    async def first_command(self) -> float:
        """Make the container, run a command, and remove the container outside the clock."""
        seconds = await self.up() + await self.command()
        await self.down()
        return seconds

    async def down(self) -> None:
        """Remove the container."""
        label = {"label": [f"devcontainer.local_folder={self.folder}"]}
        for container in await self._docker.containers.list(all=True, filters=label):
            await container.delete(force=True, v=True)


def _create_job(nx: nexus.WorkspaceManager, bare: BareEngine, cli: DevContainers | None) -> Job:
    names = (f"bench-{number}" for number in count())

    async def ours() -> float:
        name = next(names)

        async def act() -> None:
            await (await nx.create(name)).exec("true", check=True)

        seconds = await timed(act)
        await nx.destroy(name)
        return seconds

    async def raw() -> float:
        containers = []

        async def act() -> None:
            containers.append(await bare.up())
            await bare.run(containers[0])

        seconds = await timed(act)
        await bare.down(containers[0])
        return seconds

    return Job(
        name="create → first command",
        sides={
            _OURS: ours,
            "engine: network + create + start + exec": raw,
            **({} if cli is None else {"devcontainer up + exec": cli.first_command}),
        },
        budgets={"engine: network + create + start + exec": 1.3, "devcontainer up + exec": 0.5},
    )


def _command_job(name: str, root: Path, number: str, cli: DevContainers | None) -> Job:
    boulder = [sys.executable, "-m", "cli_example", "ws", "exec", "bench", "--", "true"]
    return Job(
        name=name,
        sides={
            "boulder ws exec": lambda: _run(*boulder, cwd=root),
            "docker exec": lambda: _run("docker", "exec", number, "true", cwd=root),
            **({} if cli is None else {"devcontainer exec": cli.command}),
        },
        budgets={"devcontainer exec": 0.6},
    )


def _program_job(ws: nexus.Workspace, bare: BareEngine, container: object) -> Job:
    return Job(
        name="one command, from a program",
        sides={
            _OURS: lambda: timed(lambda: ws.exec("true", check=True)),
            "the engine's exec": lambda: timed(lambda: bare.run(container)),
        },
        budgets={},
    )


async def _worktree_job(root: Path, files: int) -> Job:
    await anyio.to_thread.run_sync(generate, root, files)
    trial = Trial(await find_repository(root))
    return Job(
        name=f"worktree of {files:,} files",
        sides={_OURS: trial.ours, "git worktree add": trial.theirs},
        budgets={"git worktree add": 0.5},
    )


class Round:
    """One run of all jobs.

    Args:
        effort: How much is measured.
    """

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self.jobs: list[Job] = []
        self.taken: list[dict[str, list[float]]] = []
        self.machine = ""

    async def run(self) -> None:
        """Do every job, in a folder that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix="nexus-bench-") as name, isolated(Path(name)):
            folder = Path(name)
            async with engine_for(folder) as (socket, bare), opened(folder, socket) as nx:
                os.environ["DOCKER_HOST"] = socket
                async with aiodocker.Docker(url=socket) as docker:
                    found = _CLI.exists() and shutil.which("docker") is not None
                    cli = DevContainers(docker, folder / "theirs") if found else None
                    await self._do(_create_job(nx, bare, cli), self._effort.rounds)
                    await self._commands(nx, bare, cli)
                    self.machine = report.machine(f"engine {await bare.version()}", *_versions(cli))
            count = 500 if self._effort.quick else 5_000
            await self._do(await _worktree_job(folder / "files", count), self._effort.rounds)

    async def _commands(self, nx: nexus.WorkspaceManager, bare: BareEngine, cli: DevContainers | None) -> None:
        container = await bare.up()
        try:
            ws = await nx.create("bench")
            if cli is not None:
                await cli.up()
            await self._do(_program_job(ws, bare, container), self._effort.rounds * 4)
            if shutil.which("docker"):
                await self._processes(nx.repository.root, container.id, cli)
        finally:
            if cli is not None:
                await cli.down()
            await bare.down(container)
            await nx.destroy("bench", force=True)

    async def _processes(self, root: Path, number: str, cli: DevContainers | None) -> None:
        await self._do(_command_job("one command, whole process", root, number, cli), self._effort.rounds)
        await nexus.start_daemon(root)
        try:
            job = _command_job("one command, whole process, with a daemon", root, number, cli)
            await self._do(job, self._effort.rounds)
        finally:
            await nexus.stop_daemon(root)

    async def _do(self, job: Job, rounds: int) -> None:
        self.taken.append(await measure(job, rounds))
        self.jobs.append(job)


def _versions(cli: DevContainers | None) -> tuple[str, ...]:
    git = f"git {report.version_of('git', '--version')}"
    if cli is None:
        return (git, "dev container CLI not installed")
    node = f"node {report.version_of('node', '--version')}"
    return (git, node, f"@devcontainers/cli {report.version_of(str(_CLI), '--version')}")


def plot(jobs: Sequence[Job], taken: Sequence[Mapping[str, Sequence[float]]]) -> str:
    """Return the plot of the medians."""
    return bars(
        "Medians beside other tools",
        {
            job.name: [
                Bar(_shortened(side), statistics.median(values), ours=number == 0)
                for number, (side, values) in enumerate(sides.items())
            ]
            for job, sides in zip(jobs, taken, strict=True)
        },
    )


def _shortened(side: str) -> str:
    return side.partition(":")[0] if side.startswith("engine") else side


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each (default 7)")
    parser.add_argument("--quick", action="store_true", help="two rounds: to see that it runs")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.svg and the section of the page")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what a quick run measures is not worth writing down")
    done = Round(Effort(rounds=2, quick=True) if options.quick else Effort(rounds=options.rounds))
    try:
        anyio.run(done.run)
    except ProviderUnavailable as missing:
        sys.exit(f"left out: {missing}")
    machine, jobs, taken = done.machine, done.jobs, done.taken
    samples = [sample for job, sides in zip(jobs, taken, strict=True) for sample in judge(job, sides)]
    print(f"{machine}\n\n{report.text(samples)}")
    if options.write:
        report.write_section(
            "peers", f"{machine}.\n\n![Medians beside other tools](benchmarks.svg)\n\n{report.markdown(samples)}"
        )
        report.write_plot("benchmarks.svg", plot(jobs, taken))


if __name__ == "__main__":
    main()
