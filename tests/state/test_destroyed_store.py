"""Notes of destroyed workspaces on disk."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexus.errors import StateError
from nexus.models.ids import new_workspace_id
from nexus.models.rescues import DestroyedWorkspace
from nexus.state import DestroyedStore


def entry(name: str = "a", year: int = 2026) -> DestroyedWorkspace:
    moment = datetime(year, 1, 1, tzinfo=UTC)
    return DestroyedWorkspace(
        id=new_workspace_id(),
        name=name,
        backend="local",
        branch=f"nexus/{name}",
        created_at=moment,
        destroyed_at=moment,
        restore="boulder ws restore",
    )


async def test_what_was_saved_is_listed_newest_first_until_it_is_deleted(tmp_path: Path) -> None:
    store = DestroyedStore(tmp_path / ".nexus")
    assert await store.load_all() == ()
    old, new = entry(year=2025), entry("b")
    for each in (old, new, new):
        await store.save(each)
    assert await store.load_all() == (new, old)
    assert store.path(old).stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        await store.delete(new)
    assert await store.load_all() == (old,)


async def test_a_file_that_we_did_not_write_is_passed_over(tmp_path: Path) -> None:
    store = DestroyedStore(tmp_path / ".nexus")
    mine = entry()
    await store.save(mine)
    folder = store.path(mine).parent
    (folder / "damaged.json").write_text("{")
    (folder / "other-name.json").write_text(mine.model_dump_json())
    (folder / "link.json").symlink_to(store.path(mine))
    os.mkfifo(folder / "pipe.json")
    assert await store.load_all() == (mine,)


async def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".nexus").mkdir()
    (tmp_path / ".nexus" / "state").symlink_to(tmp_path / "elsewhere")
    store = DestroyedStore(tmp_path / ".nexus")
    with pytest.raises(StateError, match="symbolic link"):
        await store.save(entry())
    assert list((tmp_path / "elsewhere").iterdir()) == []
