from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nexus.errors import BranchInUse, Busy, GitError, InvalidName, UnbornHead
from nexus.git import Worktree, Worktrees
from tests.git.oracle import REASON, Git


def assert_git_agrees(git: Git, made: Worktree, name: str, commit: str) -> None:
    """Let the real git judge a fresh worktree."""
    assert git.status(made.path) == ""
    assert git.run("diff", "HEAD", cwd=made.path) == ""
    listed = git.run("worktree", "list", "--porcelain").split("\n\n")
    mine = next(block for block in listed if f"worktree {made.path}\n" in block + "\n")
    assert f"HEAD {commit}" in mine
    assert f"branch refs/heads/nexus/{name}" in mine
    assert f"locked {REASON}" in mine
    git.run("fsck", "--strict", "--connectivity-only")
    assert git.run("rev-parse", "--abbrev-ref", "HEAD", cwd=made.path).strip() == f"nexus/{name}"


async def test_git_sees_a_locked_clean_worktree(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    assert_git_agrees(git, made, "one", git.head())
    assert made.path == git.root / ".nexus" / "worktrees" / "one" == worktrees.path("one")
    assert made.branch == "nexus/one" == worktrees.branch("one")
    assert made.admin_dir == worktrees.admin_dir("one")
    assert (made.head, made.lock, made.checked_out) == (git.head(), REASON, "refs/heads/nexus/one")
    assert (made.path / "src" / "app.py").read_text() == "print('hi')\n"
    assert git.status(git.root) == "", "our own folders are kept out of the main checkout's status"


async def test_the_lock_is_there_from_the_first_moment(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    rename = Path.rename

    def watched(self: Path, target: Path) -> Path:
        done = rename(self, target)
        if Path(target).parent.name == "worktrees":
            seen.append((Path(target) / "locked").read_text().strip() == REASON)
        return done

    monkeypatch.setattr(Path, "rename", watched)
    await worktrees.create("one", reason=REASON)
    assert seen == [True]


async def test_pointers_are_absolute(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / ".git").read_text() == f"gitdir: {made.admin_dir}\n"
    assert (made.admin_dir / "gitdir").read_text() == f"{made.path / '.git'}\n"


async def test_work_goes_on_with_the_real_git(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    (made.path / "new").write_text("x")
    commit = git.commit("inside", cwd=made.path)
    assert git.run("rev-parse", "nexus/one").strip() == commit
    assert "inside" in git.run("reflog", "HEAD", cwd=made.path)
    assert "branch: Created from HEAD" in git.run("reflog", "nexus/one")


@pytest.mark.parametrize("start", ["v2", "other", "origin/main", "HEAD~1", "refs/heads/other"])
@pytest.mark.parametrize("packed", [False, True])
async def test_it_starts_where_it_is_told(git: Git, worktrees: Worktrees, start: str, packed: bool) -> None:
    git.write("later", "2")
    git.commit("second")
    git.run("branch", "other")
    git.run("tag", "-a", "v2", "-m", "annotated", "HEAD~1")
    git.run("update-ref", "refs/remotes/origin/main", "HEAD~1")
    if packed:
        git.run("gc", "-q")
        git.run("pack-refs", "--all")
    made = await worktrees.create("one", start=start, reason=REASON)
    assert_git_agrees(git, made, "one", git.run("rev-parse", f"{start}^{{commit}}").strip())
    assert not git.run("config", "--get-regexp", "branch.nexus/one.*", check=False), "no upstream is recorded"


async def test_it_starts_from_a_detached_head(git: Git, worktrees: Worktrees) -> None:
    git.write("later", "2")
    git.commit("second")
    git.run("checkout", "-q", "--detach", "HEAD~1")
    made = await worktrees.create("one", reason=REASON)
    assert_git_agrees(git, made, "one", git.head())


async def test_it_starts_with_an_abbreviated_id(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", start=git.head()[:8], reason=REASON)
    assert made.head == git.head()


async def test_without_a_commit_nothing_is_made(empty: Git) -> None:
    worktrees = await empty.worktrees()
    with pytest.raises(UnbornHead):
        await worktrees.create("one", reason=REASON)
    assert not (empty.root / ".nexus" / "worktrees").exists()


async def test_a_commit_without_files_is_fine(empty: Git) -> None:
    empty.run("commit", "-q", "--allow-empty", "-m", "nothing")
    made = await (await empty.worktrees()).create("one", reason=REASON)
    assert_git_agrees(empty, made, "one", empty.head())


async def test_an_existing_branch_is_used_only_when_asked(git: Git, worktrees: Worktrees) -> None:
    git.run("branch", "nexus/one")
    git.write("later", "2")
    git.commit("second")
    with pytest.raises(BranchInUse, match="exists already") as caught:
        await worktrees.create("one", reason=REASON)
    assert caught.value.hint is not None
    assert "adopt" in caught.value.hint
    made = await worktrees.create("one", reason=REASON, adopt=True)
    assert_git_agrees(git, made, "one", git.run("rev-parse", "HEAD~1").strip())


async def test_adopting_what_is_not_there_makes_it(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON, adopt=True)
    assert_git_agrees(git, made, "one", git.head())


@pytest.mark.parametrize("where", ["main", "linked", "rebasing"])
async def test_a_branch_that_is_checked_out_elsewhere_is_left_alone(
    git: Git, worktrees: Worktrees, tmp_path: Path, where: str
) -> None:
    git.run("branch", "nexus/one")
    if where == "main":
        git.run("checkout", "-q", "nexus/one")
    else:
        git.run("worktree", "add", "-q", str(tmp_path / "linked"), "nexus/one")
    if where == "rebasing":
        git.commit("work", cwd=tmp_path / "linked")
        git.run("rebase", "-q", "--exec", "false", "HEAD~1", cwd=tmp_path / "linked", check=False)
    with pytest.raises(BranchInUse, match="checked out elsewhere"):
        await worktrees.create("one", reason=REASON, adopt=True)


@pytest.mark.parametrize("other", ["nexus", "nexus/one/deeper"])
@pytest.mark.parametrize("packed", [False, True])
async def test_branches_that_cannot_stand_side_by_side_are_named(
    git: Git, worktrees: Worktrees, other: str, packed: bool
) -> None:
    git.run("branch", other)
    if packed:
        git.run("pack-refs", "--all")
    with pytest.raises(BranchInUse, match=other):
        await worktrees.create("one", reason=REASON)
    assert not worktrees.path("one").exists()


async def test_what_is_in_the_way_stays(git: Git, worktrees: Worktrees) -> None:
    in_the_way = git.write(".nexus/worktrees/one/precious", "mine")
    with pytest.raises(GitError, match="in the way"):
        await worktrees.create("one", reason=REASON)
    assert in_the_way.read_text() == "mine"
    assert git.run("branch", "--list", "nexus/*") == ""


async def test_a_second_one_of_the_same_name_is_refused(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    with pytest.raises(BranchInUse):
        await worktrees.create("one", reason=REASON)
    with pytest.raises(BranchInUse):
        await worktrees.create("one", reason=REASON, adopt=True)
    assert_git_agrees(git, made, "one", git.head())


async def test_a_users_worktree_folder_does_not_collide(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    for folder in ("one", "nexus-one"):
        git.run("worktree", "add", "-q", str(tmp_path / folder))
    made = await worktrees.create("one", reason=REASON)
    assert_git_agrees(git, made, "one", git.head())
    assert [worktree.name for worktree in await worktrees.list()] == ["one"]


@pytest.mark.parametrize("link", [".nexus", ".nexus/worktrees"])
async def test_a_link_in_the_clone_does_not_lead_us_out(
    git: Git, worktrees: Worktrees, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (git.root / link).parent.mkdir(exist_ok=True)
    (git.root / link).symlink_to(outside)
    with pytest.raises(GitError, match="not a folder of its own"):
        await worktrees.create("one", reason=REASON)
    assert list(outside.iterdir()) == []


async def test_a_link_among_the_refs_does_not_lead_us_out(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (git.root / ".git" / "refs" / "heads" / "nexus").symlink_to(outside)
    (git.root / ".git" / "logs" / "refs" / "heads" / "nexus").symlink_to(outside)
    with pytest.raises(GitError, match="symbolic link"):
        await worktrees.create("one", reason=REASON)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "A", "", "a/b", "HEAD", ".git"])
async def test_a_name_that_is_none_goes_nowhere(worktrees: Worktrees, name: str) -> None:
    with pytest.raises(InvalidName):
        await worktrees.create(name, reason=REASON)
    with pytest.raises(InvalidName):
        worktrees.path(name)
    with pytest.raises(InvalidName):
        await worktrees.remove(name, expected_tip=None, delete_branch=False)


async def test_the_lock_reason_says_whose_it_is(worktrees: Worktrees) -> None:
    with pytest.raises(GitError, match="lock reason"):
        await worktrees.create("one", reason="mine")


async def test_a_lock_of_gits_is_told_as_busy(git: Git, worktrees: Worktrees) -> None:
    lock = git.write(".git/refs/heads/nexus/one.lock", "")
    with pytest.raises(Busy) as caught:
        await worktrees.create("one", reason=REASON)
    assert caught.value.details["lock"] == str(lock)
    assert caught.value.retryable
    assert not worktrees.path("one").exists()
    lock.unlink()
    await worktrees.create("one", reason=REASON)


async def test_what_a_container_sees_read_only_exists(git: Git, worktrees: Worktrees) -> None:
    for folder in ("hooks", "info"):
        for file in (git.root / ".git" / folder).iterdir():
            file.unlink()
        (git.root / ".git" / folder).rmdir()
    made = await worktrees.create("one", reason=REASON)
    assert {Path(entry).name for entry in made.protected} >= {"hooks", "info"}
    for entry in made.protected:
        assert (git.root / ".git" / entry).exists(), entry


async def test_progress_is_told_on_the_event_loop(git: Git, worktrees: Worktrees) -> None:
    told: list[tuple[str, int | None, int | None]] = []

    def progress(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        import asyncio

        asyncio.get_running_loop()
        told.append((step, done, total))

    await worktrees.create("one", reason=REASON, progress=progress)
    assert told[-1] == ("worktree", 2, 2)


async def test_prune_by_hand_leaves_it(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    made.path.rename(git.root / "away")
    git.run("worktree", "prune", "--expire", "now")
    assert made.admin_dir.exists()
    (git.root / "away").rename(made.path)
    assert git.status(made.path) == ""


async def test_half_made_folders_keep_the_users_umask(git: Git, worktrees: Worktrees) -> None:
    previous = os.umask(0o027)
    try:
        made = await worktrees.create("one", reason=REASON)
    finally:
        os.umask(previous)
    assert stat.S_IMODE((made.path / "README.md").stat().st_mode) == 0o640
    assert stat.S_IMODE((made.path / "src").stat().st_mode) == 0o750
