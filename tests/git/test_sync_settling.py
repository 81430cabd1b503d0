"""What a fast-forward leaves that was killed on the way. The lock that it holds is made as it makes it, and never given back."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.git import Worktree, Worktrees
from nexus.git.advancing import IndexLock
from tests.git.oracle import REASON, Git

NEW = "new text\n" * 100


@pytest.fixture
async def made(git: Git, worktrees: Worktrees) -> Worktree:
    git.write("gone.txt", "to be removed\n")
    git.write("other.txt", "to be changed\n")
    git.commit("second")
    return await worktrees.create("one", reason=REASON)


@pytest.fixture
def after(git: Git, made: Worktree) -> str:
    """The commit that it was on its way to: one file changed, one new, one gone."""
    git.write("README.md", NEW)
    git.write("other.txt", "changed\n")
    git.write("deep/new.txt", NEW)
    (git.root / "gone.txt").unlink()
    return git.commit("third")


def killed(made: Worktree) -> None:
    IndexLock(made.admin_dir).__enter__()


def locks(made: Worktree) -> list[str]:
    return [path.name for path in made.admin_dir.iterdir() if path.name in {"index.lock", "nexus-index"}]


async def settle(worktrees: Worktrees, made: Worktree, after: str) -> str:
    assert made.head is not None
    outcome = await worktrees.settle_sync("one", before=made.head, after=after)
    assert locks(made) == []
    return outcome


async def test_half_of_the_files_are_put_back(git: Git, worktrees: Worktrees, made: Worktree, after: str) -> None:
    killed(made)
    (made.path / "gone.txt").unlink()
    (made.path / "other.txt").unlink()
    (made.path / "deep").mkdir()
    (made.path / "deep" / "new.txt").write_text(NEW[:50])  # it died while it wrote
    assert await settle(worktrees, made, after) == "taken back"
    assert git.status(made.path) == ""
    assert git.head(made.path) == made.head
    git.run("update-index", "--really-refresh", cwd=made.path)


async def test_what_somebody_wrote_meanwhile_stays(git: Git, worktrees: Worktrees, made: Worktree, after: str) -> None:
    killed(made)
    (made.path / "README.md").write_text("mine, and of nobody else\n")
    (made.path / "gone.txt").unlink()
    (made.path / "deep").mkdir()
    (made.path / "deep" / "new.txt").write_text("mine as well\n")
    assert await settle(worktrees, made, after) == "taken back"
    assert (made.path / "README.md").read_text() == "mine, and of nobody else\n"
    assert (made.path / "deep" / "new.txt").read_text() == "mine as well\n"
    assert (made.path / "gone.txt").read_text() == "to be removed\n"
    assert git.status(made.path).split() == ["M", "README.md", "??", "deep/new.txt"]


async def test_a_branch_that_was_moved_has_its_index_follow(
    git: Git, worktrees: Worktrees, made: Worktree, after: str
) -> None:
    killed(made)
    (made.path / "README.md").write_text(NEW)
    (made.path / "other.txt").write_text("changed\n")
    (made.path / "gone.txt").unlink()
    (made.path / "deep").mkdir()
    (made.path / "deep" / "new.txt").write_text("changed since\n")
    git.run("update-ref", "refs/heads/nexus/one", after)
    assert await settle(worktrees, made, after) == "carried on"
    assert git.head(made.path) == after
    assert git.status(made.path).split() == ["M", "deep/new.txt"]


async def test_a_branch_that_somebody_else_moved_leaves_the_files_as_they_are(
    git: Git, worktrees: Worktrees, made: Worktree, after: str
) -> None:
    killed(made)
    (made.path / "README.md").write_text(NEW)
    git.run("update-ref", "refs/heads/nexus/one", "HEAD~2")
    assert "stay as they are" in await settle(worktrees, made, after)
    assert (made.path / "README.md").read_text() == NEW


async def test_the_lock_of_a_git_at_work_inside_is_not_touched(
    git: Git, worktrees: Worktrees, made: Worktree, after: str
) -> None:
    lock = made.admin_dir / "index.lock"
    lock.touch()
    (made.path / "README.md").write_text(NEW)
    assert made.head is not None
    assert await worktrees.settle_sync("one", before=made.head, after=after) == "nothing was half done"
    assert lock.exists()
    assert (made.path / "README.md").read_text() == NEW


async def test_a_lock_that_is_a_link_is_not_ours(
    worktrees: Worktrees, made: Worktree, after: str, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("nexus\n")
    (made.admin_dir / "index.lock").symlink_to(victim)
    assert made.head is not None
    assert await worktrees.settle_sync("one", before=made.head, after=after) == "nothing was half done"
    assert (made.admin_dir / "index.lock").readlink() == victim
    assert victim.read_text() == "nexus\n"


async def test_a_worktree_that_is_gone_has_nothing_to_settle(worktrees: Worktrees, made: Worktree, after: str) -> None:
    await worktrees.remove("one", expected_tip=None, delete_branch=False)
    assert made.head is not None
    assert "no worktree" in await worktrees.settle_sync("one", before=made.head, after=after)
