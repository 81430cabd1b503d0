"""Notes of checkpoints: whole or not there, and not believed when they cannot be ours."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexus.errors import InvalidName
from nexus.models.checkpoints import Checkpoint, CheckpointEntry
from nexus.models.ids import CheckpointId, WorkspaceId, WorkspaceName, new_checkpoint_id
from nexus.models.workspace import Repository, WorkspaceRecord
from nexus.state import CheckpointStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def entry(name: str = "a", *, identifier: CheckpointId | None = None, second: int = 0) -> CheckpointEntry:
    record = WorkspaceRecord(
        id=WorkspaceId(f"id-of-{name}"),
        name=WorkspaceName(name),
        backend="local",
        repository=Repository(root=Path("/r"), common_dir=Path("/r/.git")),
        branch=f"nexus/{name}",
        worktree_path=Path(f"/r/.nexus/worktrees/{name}"),
        created_at=NOW,
        updated_at=NOW,
        last_active=NOW,
    )
    identifier = identifier or new_checkpoint_id()
    checkpoint = Checkpoint(
        id=identifier,
        workspace=record.id,
        workspace_name=record.name,
        created_at=NOW.replace(second=second),
        ref=f"refs/nexus/checkpoints/{name}/{identifier}",
        commit="0" * 40,
        backend="local",
    )
    return CheckpointEntry(checkpoint=checkpoint, record=record)


async def test_stored_listed_the_newest_first_and_deleted(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    assert (await store.load("a"), await store.load_all()) == ((), ())
    old, new, other = entry(second=1), entry(second=2), entry("b", second=3)
    for each in (old, other, new):
        await store.save(each)
    assert await store.load("a") == (new, old)
    assert await store.load_all() == (other, new, old)
    for each in (old, new, old):
        await store.delete(each)
    assert await store.load("a") == ()
    assert not (tmp_path / "state" / "checkpoints" / "a").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": {"workspace_name": "b"}},
        {"checkpoint": {"workspace": "another"}},
        {"checkpoint": {"id": "0123456789ab"}},
        {"checkpoint": {"created_at": "2026-01-02T03:04:05"}},
        {"record": {"name": "b"}},
        {"unknown": 1},
    ],
    ids=str,
)
async def test_a_note_that_cannot_be_ours_is_passed_over_and_left(tmp_path: Path, change: dict[str, object]) -> None:
    store, one = CheckpointStore(tmp_path), entry()
    await store.save(one)
    file = store.path(one)
    content = json.loads(file.read_text())
    for key, value in change.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    file.write_text(json.dumps(content))
    assert (await store.load("a"), await store.load_all()) == ((), ())
    assert file.exists()


async def test_nothing_outside_of_its_folder_is_read_or_written(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / ".nexus")
    with pytest.raises(InvalidName):
        await store.load("../a")
    await store.save(entry("b"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / ".nexus" / "state" / "checkpoints" / "a").symlink_to(outside)
    from nexus.errors import StateError

    with pytest.raises(StateError):
        await store.save(entry("a"))
    assert list(outside.iterdir()) == []
