"""Terminals on disk: private, whole, bounded, and nothing that is not ours is believed."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexus.errors import StateError
from nexus.models.execution import Pty
from nexus.models.ids import TerminalId, WorkspaceId, new_workspace_id
from nexus.models.terminals import TerminalState
from nexus.state import SavedTerminal, TerminalStore
from nexus.state.terminals import MOST, SHOWN

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def terminal(workspace: WorkspaceId, number: int = 1, **changes: object) -> SavedTerminal:
    return SavedTerminal(
        id=TerminalId(f"tm_{number:016x}"),
        workspace=workspace,
        name="mine",
        state=TerminalState.KEPT,
        argv=("sh",),
        size=Pty(),
        scrollback=1000,
        keep_alive=5,
        created_at=NOW,
        saved_at=NOW,
        newest=10 * SHOWN,
    ).model_copy(update=changes)


@pytest.fixture
def store(tmp_path: Path) -> TerminalStore:
    return TerminalStore(tmp_path / ".nexus")


async def test_what_is_saved_is_loaded(store: TerminalStore) -> None:
    workspace = new_workspace_id()
    one, two = terminal(workspace, 1), terminal(workspace, 2, title="two")
    await store.save(one, b"shown\n\xff\x00")
    await store.save(two, b"x" * (SHOWN + 5), durable=True)
    assert await store.known(workspace) == (one, two)
    assert await store.load(workspace, one.id) == (one, b"shown\n\xff\x00")
    found = await store.load(workspace, two.id)
    assert found is not None
    assert len(found[1]) == SHOWN
    folder = store.root / "state" / "terminals" / workspace
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600, 0o600]
    await store.delete(workspace, one.id)
    await store.delete(workspace, one.id)
    assert await store.load(workspace, one.id) is None
    await store.clear(workspace)
    assert await store.known(workspace) == ()
    assert not folder.exists()


async def test_what_is_not_ours_is_passed_over(store: TerminalStore) -> None:
    workspace, other = new_workspace_id(), new_workspace_id()
    good = terminal(workspace, 1)
    await store.save(good, b"")
    folder = store.root / "state" / "terminals" / workspace
    (folder / "tm_0000000000000002.term").write_bytes(terminal(other, 2).model_dump_json().encode() + b"\n")
    (folder / "tm_0000000000000003.term").write_bytes(terminal(workspace, 4).model_dump_json().encode() + b"\n")
    (folder / "tm_0000000000000005.term").write_bytes(b"{}\n")
    (folder / "tm_0000000000000006.term").symlink_to("/etc/passwd")
    os.mkfifo(folder / "tm_0000000000000007.term")
    claims = terminal(workspace, 8, newest=3).model_dump_json().encode() + b"\nfour bytes"
    (folder / "tm_0000000000000008.term").write_bytes(claims)
    (folder / "../escape.term").write_bytes(b"x")
    assert await store.known(workspace) == (good,)
    assert await store.load(workspace, TerminalId("../../escape")) is None


async def test_a_link_in_place_of_the_folder_is_refused(store: TerminalStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store.root / "state").mkdir(parents=True)
    (store.root / "state" / "terminals").symlink_to(elsewhere)
    with pytest.raises(StateError, match="symbolic link"):
        await store.save(terminal(new_workspace_id()), b"")
    assert list(elsewhere.iterdir()) == []


async def test_no_more_are_read_than_a_workspace_may_have(store: TerminalStore) -> None:
    workspace = new_workspace_id()
    for number in range(1, MOST + 5):
        await store.save(terminal(workspace, number), b"")
    assert len(await store.known(workspace)) == MOST
