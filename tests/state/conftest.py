from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import nexus
from nexus.models.ids import new_workspace_id, parse_name
from nexus.models.workspace import Repository, WorkspaceRecord
from nexus.state import FileStateStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RecordFactory = Callable[[str], WorkspaceRecord]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".nexus"


@pytest.fixture
def store(root: Path) -> FileStateStore:
    return FileStateStore(root)


@pytest.fixture
def new_record() -> RecordFactory:
    def make(name: str) -> WorkspaceRecord:
        return WorkspaceRecord(
            id=new_workspace_id(),
            name=parse_name(name),
            backend="local",
            repository=Repository(root=Path("/r"), common_dir=Path("/r/.git")),
            branch=f"nexus/{name}",
            worktree_path=Path(f"/r/.nexus/worktrees/{name}"),
            created_at=NOON,
            updated_at=NOON,
            last_active=NOON,
            env_vars={"GREETING": "grüß dich"},
        )

    return make


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start Python programs that import the package from this tree; whatever still runs at the end is killed."""
    children: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(nexus.__file__).parents[1])},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()
