from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexus.models.ids import new_workspace_id, parse_name
from nexus.models.workspace import Repository, WorkspaceRecord
from nexus.state import FileStateStore
from tests.programs import spawn

__all__ = ["spawn"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RecordFactory = Callable[[str], WorkspaceRecord]


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
