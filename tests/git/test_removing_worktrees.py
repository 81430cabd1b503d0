from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nexus.errors import Busy, CleanupError, GitError
from nexus.git import Worktree, Worktrees
from tests.git.oracle import REASON, Git


@pytest.fixture
async def made(git: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


def assert_nothing_left(git: Git, *, branch: bool = False) -> None:
    assert "nexus" not in git.run("worktree", "list", "--porcelain").replace(str(git.root), "") or branch
    assert (git.run("for-each-ref", "refs/heads/nexus") != "") == branch
    assert not (git.root / ".git" / "worktrees").exists()
    assert not (git.root / ".git" / "nexus-trash").exists()
    assert list((git.root / ".nexus" / "worktrees").iterdir()) == []
    assert list((git.root / ".nexus" / "trash").iterdir()) == []
    if not branch:
        assert not (git.root / ".git" / "logs" / "refs" / "heads" / "nexus").exists()
        assert not (git.root / ".git" / "refs" / "heads" / "nexus").exists()
    git.run("fsck")


async def test_tree_entry_and_branch_go(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    assert await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert_nothing_left(git)
    assert await worktrees.list() == ()
    assert await worktrees.get("one") is None


async def test_a_second_time_is_fine(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert not await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert_nothing_left(git)


async def test_one_that_never_was_is_fine(git: Git, worktrees: Worktrees) -> None:
    assert not await worktrees.remove("nothing", expected_tip=git.head(), delete_branch=True)
    assert not (git.root / ".nexus").exists()


@pytest.mark.parametrize("packed", [False, True])
async def test_a_branch_that_moved_stays(git: Git, worktrees: Worktrees, made: Worktree, packed: bool) -> None:
    moved = git.commit("work", cwd=made.path)
    if packed:
        git.run("pack-refs", "--all")
    assert not await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert git.run("rev-parse", "nexus/one").strip() == moved
    assert_nothing_left(git, branch=True)
    assert await worktrees.remove("one", expected_tip=moved, delete_branch=True)
    assert_nothing_left(git)


@pytest.mark.parametrize(("tip", "delete"), [(False, True), (True, False)])
async def test_the_branch_stays_unless_asked(
    git: Git, worktrees: Worktrees, made: Worktree, tip: bool, delete: bool
) -> None:
    assert not await worktrees.remove("one", expected_tip=made.head if tip else None, delete_branch=delete)
    assert_nothing_left(git, branch=True)


async def test_a_branch_that_is_used_elsewhere_stays(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    git.run("worktree", "add", "-q", "--force", str(tmp_path / "other"), "nexus/one")
    assert not await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert git.head(tmp_path / "other") == made.head
    assert git.status(tmp_path / "other") == ""


@pytest.mark.parametrize("gone", ["tree", "entry", "both", "by git", "branch", "lock"])
async def test_half_a_worktree_goes_too(git: Git, worktrees: Worktrees, made: Worktree, gone: str) -> None:
    if gone in {"tree", "both"}:
        shutil.rmtree(made.path)
    if gone in {"entry", "both"}:
        shutil.rmtree(made.admin_dir)
    if gone == "by git":
        git.run("worktree", "remove", "-f", "-f", str(made.path))
    if gone == "branch":
        git.run("update-ref", "-d", "refs/heads/nexus/one")
    if gone == "lock":
        git.run("worktree", "unlock", str(made.path))
    found = await worktrees.get("one")
    if gone in {"both", "by git"}:
        assert found is None
    else:
        assert found is not None
        assert (found.present, found.registered) == (gone != "tree", gone != "entry")
        assert [worktree.name for worktree in await worktrees.list()] == ["one"]
    assert await worktrees.remove("one", expected_tip=made.head, delete_branch=True) == (gone != "branch")
    assert_nothing_left(git)


async def test_what_a_crash_left_goes_and_comes_again(git: Git, worktrees: Worktrees) -> None:
    git.write(".git/nexus-new-one/locked", REASON)
    git.write(".nexus/trash/one.leftover/deep/file", "x")
    git.write(".git/nexus-trash/nexus@one.leftover/index", "x")
    await worktrees.remove("one", expected_tip=None, delete_branch=False)
    assert not list(git.root.rglob("*leftover*"))
    assert not (git.root / ".git" / "nexus-new-one").exists()
    git.write(".git/nexus-new-one/locked", REASON)
    made = await worktrees.create("one", reason=REASON)
    assert git.status(made.path) == ""


async def test_other_worktrees_are_untouched(git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path) -> None:
    git.run("worktree", "add", "-q", str(tmp_path / "theirs"))
    git.run("worktree", "add", "-q", str(tmp_path / "missing"))
    shutil.rmtree(tmp_path / "missing")
    two = await worktrees.create("two", reason=REASON)
    git.write(".nexus/worktrees/two/work", "precious")
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert git.status(tmp_path / "theirs") == ""
    assert (two.path / "work").read_text() == "precious"
    assert str(tmp_path / "missing") in git.run("worktree", "list"), "no blanket prune"


async def test_somebody_elses_lock_is_respected(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.run("worktree", "unlock", str(made.path))
    git.run("worktree", "lock", "--reason", "on a portable disk", str(made.path))
    with pytest.raises(GitError, match="on a portable disk") as caught:
        await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert caught.value.hint is not None
    assert "unlock" in caught.value.hint
    assert git.status(made.path) == ""


async def test_a_link_in_the_trees_place_is_not_followed(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    made.path.rename(tmp_path / "precious")
    made.path.symlink_to(tmp_path / "precious")
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert (tmp_path / "precious" / "README.md").exists()
    assert not made.path.is_symlink()


async def test_links_inside_are_not_followed(git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    (made.path / "link").symlink_to(outside)
    (made.path / "to-git").symlink_to(git.root / ".git")
    (made.admin_dir / "link").symlink_to(outside)
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert outside.stat().st_mode & 0o777 == 0o500
    assert git.status(git.root) == ""


async def test_unwritable_folders_and_endless_paths_go(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    locked = made.path / "locked" / "inner"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0o000)
    locked.parent.chmod(0o500)
    at = os.open(made.path, os.O_RDONLY)
    for _ in range(200):  # far longer than a path may be, as only relative calls can make it
        os.mkdir("d" * 100, dir_fd=at)
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert_nothing_left(git)


async def test_what_cannot_be_deleted_is_said_and_the_rest_is_done(
    git: Git, worktrees: Worktrees, made: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made.path / "stubborn").write_text("x")
    unlink = os.unlink

    def refusing(path: str, *, dir_fd: int | None = None) -> None:
        if path == "stubborn":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refusing)
    with pytest.raises(CleanupError) as caught:
        await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert any("stubborn" in str(line) for line in caught.value.details["left"])  # type: ignore[union-attr]
    assert caught.value.details["branch_deleted"] is True
    assert await worktrees.list() == ()
    assert git.run("for-each-ref", "refs/heads/nexus") == ""
    monkeypatch.undo()
    await worktrees.remove("one", expected_tip=None, delete_branch=False)
    assert list((git.root / ".nexus" / "trash").iterdir()) == [], "the next removal cleans up"


async def test_a_lock_on_the_branch_is_told_as_busy(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    lock = git.write(".git/refs/heads/nexus/one.lock", "")
    with pytest.raises(Busy):
        await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    lock.unlink()
    assert await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert_nothing_left(git)


async def test_the_name_can_be_used_again_at_once(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    for _ in range(3):
        await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
        again = await worktrees.create("one", reason=REASON)
        assert git.status(again.path) == ""
