from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nexus.errors import StateError
from nexus.models.activity import Hold
from nexus.models.ids import new_workspace_id
from nexus.state import HoldStore

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ID = new_workspace_id()


def hold(name: str, **changes: object) -> Hold:
    given = {"workspace": ID, "name": name, "ttl": timedelta(hours=1), "taken_at": NOW, "renewed_at": NOW, **changes}
    return Hold.model_validate(given)


@pytest.fixture
def store(tmp_path: Path) -> HoldStore:
    return HoldStore(tmp_path / ".nexus")


async def test_a_hold_is_kept_for_the_next_process_until_it_is_released(store: HoldStore) -> None:
    assert await store.load(ID) == ()
    await store.save(hold("b"))
    await store.save(hold("a", reason="why"))
    await store.save(hold("a", reason="another"))
    again = HoldStore(store.root)
    assert [(one.name, one.reason) for one in await again.load(ID)] == [("a", "another"), ("b", "")]
    assert await again.load(new_workspace_id()) == ()
    assert await again.delete(ID, "a")
    assert not await again.delete(ID, "a")
    await again.clear(ID)
    await again.clear(ID)
    assert await again.load(ID) == ()
    assert list((store.root / "state" / "holds").iterdir()) == []


async def test_files_that_are_not_ours_are_passed_over(store: HoldStore, tmp_path: Path) -> None:
    await store.save(hold("mine"))
    folder = store.root / "state" / "holds" / ID
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text(hold("mine").model_dump_json())
    (folder / "large.json").write_text(" " * 100_000)
    stranger = hold("stranger", workspace=new_workspace_id())
    (folder / "stranger.json").write_text(stranger.model_dump_json())
    naive = json.loads(hold("naive").model_dump_json()) | {"renewed_at": "2026-05-01T12:00:00"}
    (folder / "naive.json").write_text(json.dumps(naive))
    (tmp_path / "outside.json").write_text(hold("link").model_dump_json())
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    os.mkfifo(folder / "pipe.json")
    assert [one.name for one in await store.load(ID)] == ["mine"]


async def test_a_folder_that_a_clone_replaced_by_a_link_is_refused(store: HoldStore, tmp_path: Path) -> None:
    (store.root / "state").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (store.root / "state" / "holds").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        await store.save(hold("a"))
    assert list((tmp_path / "elsewhere").iterdir()) == []
