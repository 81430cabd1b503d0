"""Killing an operation on the way, and looking at everything that it left."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nexus
from nexus.abc import SupportsCheckpoints
from nexus.models.findings import Finding
from nexus.models.instances import LABEL_REPOSITORY
from nexus.models.workspace import WorkspaceInfo, WorkspaceStatus
from tests.workbench import Bench, git

SETTLED = {WorkspaceStatus.STOPPED, WorkspaceStatus.RUNNING, WorkspaceStatus.PAUSED}
_LOOKS = 5


@dataclass
class Killed:
    """How a child ended, and what it had done until then."""

    killed: bool
    ended: bool
    log: list[str]
    errors: str

    @property
    def effects(self) -> list[str]:
        return [line.removeprefix("effect ") for line in self.log if line.startswith("effect ")]

    @property
    def step(self) -> str:
        """The last line of the journal: what it was doing."""
        steps = [line.split()[1:] for line in self.log if line.startswith("step ")]
        if not steps:
            return "before the journal"
        name, moment = steps[-1]
        if name == "journal":
            return "the journal is open" if moment == "begun" else "the journal is closed"
        return name if moment == "begun" else f"after {name}"

    @property
    def edges(self) -> list[int]:
        """The number of the effect that follows each line of the journal."""
        found, count = [], 0
        for line in self.log:
            if line.startswith("effect "):
                count += 1
            else:
                found.append(count + 1)
        return found


class Nursery:
    """Starts children. See :mod:`tests.faults.nursery`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, bench: Bench, operation: str, **order: object) -> Killed:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        full = {
            "operation": operation,
            "name": "victim",
            "repository": str(bench.repository),
            "flags": {**bench.flags, **bench.extra},
            "env": {key: value for key, value in os.environ.items() if key == "HOME" or key.startswith("XDG_")},
            **order,
        }
        self._process.stdin.write(json.dumps(full) + "\n")
        self._process.stdin.flush()
        return Killed(**json.loads(self._process.stdout.readline()))

    def kill_at(self, bench: Bench, operation: str, step: str, moment: str, **order: object) -> None:
        """Kill at a step of the journal; the step has to be reached."""
        child = self.run(bench, operation, step=step, moment=moment, **order)
        assert child.killed, child.errors or child.log


@contextmanager
def nursery_for() -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.nursery"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield Nursery(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)


def choose(child: Killed, most: int, *, about: str, seed: int) -> list[int]:
    """Return which effects to kill before: all, or where there are too many those at a journal's lines and as many others.

    Args:
        child: One that was not killed.
        most: How many at most.
        about: What the effects have to be about.
        seed: Decides which others.
    """
    numbers = [number for number, effect in enumerate(child.effects, start=1) if about in effect]
    if len(numbers) <= most:
        return numbers
    edges = sorted(set(child.edges) & set(numbers))
    rest = [number for number in numbers if number not in edges]
    chance = random.Random(seed)
    others = min(len(rest), max(most - len(edges), most // 2))
    return sorted({*chance.sample(edges, most - others), *chance.sample(rest, others)})


@dataclass
class Table:
    """Operation, step and outcome, counted."""

    rows: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def add(self, operation: str, step: str, outcome: str) -> None:
        key = (operation, step, outcome)
        self.rows[key] = self.rows.get(key, 0) + 1

    def as_property(self) -> list[list[object]]:
        return [[*key, count] for key, count in self.rows.items()]


async def look_around(bench: Bench, nx: nexus.WorkspaceManager, *, may_miss: bool = False) -> list[WorkspaceInfo]:
    """Everything that must hold after a crash, whatever it was that crashed; returns what is listed.

    Args:
        bench: Where.
        nx: A manager that was opened after the crash.
        may_miss: Whether the places of workspaces had been removed before, so that some may still be missing.
    """
    listed = await nx.list()
    infos = [entry for entry in listed if isinstance(entry, WorkspaceInfo)]
    assert len(infos) == len(listed), listed
    assert {entry.status for entry in infos} <= SETTLED, infos
    assert may_miss or not any(entry.missing for entry in infos), infos
    await nx.doctor(fix=True)
    wrong, looks = _wrong(await nx.doctor(fix=True)), 1
    # An engine finishes what the killed process had asked for: what comes between two looks is found by the next one.
    while looks < _LOOKS and any(finding.fixed for finding in wrong):
        wrong, looks = _wrong(await nx.doctor(fix=True)), looks + 1
    assert [finding for finding in wrong if not may_miss or finding.fixed] == []
    context = nx._open
    ids = {entry.id for entry in infos}
    assert await context.journal.unfinished() == ()
    assert {claim.id for claim in await context.registry.claims(repository=bench.repository)} == ids
    assert {row.owner for row in await context.registry.leases()} <= set(ids)
    provider = await context.backends.provider(bench.backend)
    places = [status.ref.id for status in await provider.list({LABEL_REPOSITORY: str(bench.repository)})]
    assert len(places) == len(set(places))
    assert set(places) == {entry.id for entry in infos if not entry.missing}
    trees = {tree.name for tree in await context.worktrees.list()}
    assert trees == {entry.name for entry in infos}
    assert strays(bench.repository) == []
    entries = await context.checkpoints.load_all()
    assert {entry.checkpoint.workspace for entry in entries} <= ids
    assert await context.trees.refs() == {entry.checkpoint.ref: entry.checkpoint.commit for entry in entries}
    if isinstance(provider, SupportsCheckpoints):
        kept = await provider.kept_places({LABEL_REPOSITORY: str(bench.repository)})
        assert set(kept) == {entry.checkpoint.id for entry in entries if entry.place is not None}
    return infos


def _wrong(findings: Sequence[Finding]) -> list[Finding]:
    about = ("records", "leftovers", "workspace", "tampering", "git")
    return [
        finding for finding in findings if finding.check.startswith(about) and (finding.fixed or finding.level != "ok")
    ]


def strays(repository: Path) -> list[str]:
    """Files that only a killed process leaves: locks, drafts, temporary ones."""
    state, common = repository / ".nexus" / "state", repository / ".git"
    found = [path for path in state.rglob("*") if path.suffix == ".tmp" and "locks" not in path.parts]
    found += (repository / ".nexus").glob(".*.tmp")
    found += (state / "clones").glob(".*")
    found += [path for path in common.rglob("*.lock") if path.is_file()]
    for folder, pattern in ((common, "commondir.*"), (common, "nexus-*"), (common / "info", "*.*")):
        found += folder.glob(pattern)
    return sorted(str(path.relative_to(repository)) for path in found)


def reachable(repository: Path, content: str) -> bool:
    """Whether a file of this content is in a work tree, or in what any ref leads to."""
    trees = repository / ".nexus" / "worktrees"
    for path in trees.rglob("*") if trees.exists() else ():
        if path.is_file() and ".git" not in path.parts and path.read_bytes() == content.encode():
            return True
    blob = subprocess.run(
        ["git", "hash-object", "--stdin"], cwd=repository, input=content, capture_output=True, text=True, check=True
    ).stdout.strip()
    return blob in git(repository, "rev-list", "--objects", "--all")
