"""Listing 1,000 workspaces, each with the status its provider reports."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import nexus
from benchmarks.harness import Effort, Sample, alone, timed
from benchmarks.surroundings import isolated
from nexus.models.ids import new_workspace_id, parse_name
from nexus.models.workspace import Repository, WorkspaceRecord, WorkspaceStatus
from nexus.state import FileStateStore
from nexus.testing.git import make_repository

COUNT = 1000


def record(number: int, repository: Repository) -> WorkspaceRecord:
    """Return a record as a creation leaves it."""
    name, now = parse_name(f"w{number}"), datetime.now(UTC)
    return WorkspaceRecord(
        id=new_workspace_id(),
        name=name,
        status=WorkspaceStatus.STOPPED,
        backend="local",
        repository=repository,
        branch=f"nexus/{name}",
        worktree_path=repository.root / ".nexus" / "worktrees" / name,
        created_at=now,
        updated_at=now,
        last_active=now,
    )


async def run(effort: Effort) -> list[Sample]:
    """Measure the list as a program gets it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {"a": "a\n"})
        store = FileStateStore(root / ".nexus")
        async with nexus.open(root, flags={"backend": "local"}) as nx:
            for number in range(COUNT):
                await store.save(record(number, nx.repository))
            if len(await nx.list()) != COUNT:
                raise AssertionError
            return [await alone(f"list {COUNT:,} workspaces", lambda: timed(nx.list), effort=effort, limit_ms=50)]
