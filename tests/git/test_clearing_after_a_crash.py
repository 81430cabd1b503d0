from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nexus.git import Worktrees, stale_locks
from nexus.git.clone_marker import CloneMarker, markers_folder, write_marker
from tests.git.oracle import Git

BEGUN = datetime.now(UTC) - timedelta(seconds=60)
LOCKS = ("packed-refs.lock", "refs/heads/nexus/one.lock", "refs/remotes/origin/main.lock", "objects/ab/cdef.lock")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale_locks, "_STALE", 0.02)


def place(git: Git, *paths: str) -> list[Path]:
    made = [git.root / ".git" / path for path in paths]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return made


@pytest.mark.usefixtures("patient")
async def test_locks_on_refs_and_objects_go(git: Git, worktrees: Worktrees) -> None:
    locks = place(git, *LOCKS)
    assert await worktrees.clear_after_crash(since=BEGUN) == len(locks)
    assert not any(path.exists() for path in locks)
    assert await worktrees.clear_after_crash(since=BEGUN) == 0


@pytest.mark.usefixtures("patient")
async def test_what_is_older_than_the_killed_process_is_not_its(git: Git, worktrees: Worktrees) -> None:
    (lock,) = place(git, "refs/heads/nexus/one.lock")
    assert await worktrees.clear_after_crash(since=datetime.now(UTC) + timedelta(seconds=60)) == 0
    assert await worktrees.clear_after_crash(since=None) == 0
    assert lock.exists()


@pytest.mark.usefixtures("patient")
async def test_a_lock_that_somebody_works_with_stays(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, busy = place(git, "refs/heads/a.lock", "packed-refs.lock")
    real, looks = stale_locks._locks, iter(range(1000))

    def look(common: Path, since: float) -> dict[str, stale_locks._Lock]:
        busy.write_text("x" * next(looks))
        return real(common, since)

    monkeypatch.setattr(stale_locks, "_locks", look)
    assert await worktrees.clear_after_crash(since=BEGUN) == 1
    assert busy.exists()
    assert not quiet.exists()


@pytest.mark.usefixtures("patient")
async def test_no_link_is_followed(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs.lock").touch()
    (git.root / ".git" / "refs" / "away").symlink_to(outside)
    (git.root / ".git" / "refs" / "link.lock").symlink_to(outside / "theirs.lock")
    assert await worktrees.clear_after_crash(since=BEGUN) == 0
    assert (outside / "theirs.lock").exists()
    assert stale_locks._remove(git.root / ".git", "refs/away/theirs.lock", stale_locks._Lock(0, 0, 0)) is False


async def test_files_that_were_being_written_go_and_others_stay(git: Git, worktrees: Worktrees) -> None:
    write_marker(worktrees.repository, "one", CloneMarker(reason="nexus:x"))
    clones = markers_folder(worktrees.repository)
    common = git.root / ".git"
    drafts = [
        common / "commondir.0123456789ab",
        common / "info" / ".exclude.0123456789ab",
        clones / ".one.json.0123456789ab",
    ]
    others = [common / "commondir.txt", common / "info" / ".exclude.swp", clones / "one.json"]
    for path in (*drafts, *others[:2]):
        path.touch()
    await worktrees.clear_after_crash(since=None)
    assert [path for path in drafts if path.exists()] == []
    assert all(path.exists() for path in others)


async def test_an_object_whose_lock_was_left_can_be_kept(git: Git, worktrees: Worktrees) -> None:
    """What is kept waits for no lock on an object, and the lock goes when the crash is cleared."""
    await worktrees.create("one", reason="nexus:test")
    idea = worktrees.path("one") / "idea.txt"
    idea.write_text("precious\n")
    sha = git.run("hash-object", str(idea)).strip()
    [lock] = place(git, f"objects/{sha[:2]}/{sha[2:]}.lock")
    ref = await worktrees.rescue("one")
    assert git.run("show", f"{ref}:idea.txt") == "precious\n"
    await worktrees.clear_after_crash(since=BEGUN)
    assert not lock.exists()
