"""A tree goes back to what it was, in its place: the real git program says the same as then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus.errors import Busy, CheckpointDamaged, GitError
from nexus.git import TreeCheckpoints, Worktree, Worktrees
from nexus.models.ids import new_checkpoint_id
from tests.git.oracle import REASON, Git
from tests.git.test_restoring import STATES, edits, rebase
from tests.git.test_restoring import seen as seen_with_all

Change = Callable[[Git, Path], None]


def seen(git: Git, tree: Path) -> tuple[object, ...]:
    """Everything that git and the file system say of a tree; not what is in a clone's own git directory."""
    said, files, *rest = seen_with_all(git, tree)
    assert isinstance(files, dict)
    return said, {path: value for path, value in files.items() if not path.startswith(b".git/")}, *rest


@pytest.fixture
async def made(worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


@pytest.fixture
def trees(worktrees: Worktrees) -> TreeCheckpoints:
    return TreeCheckpoints(worktrees.repository)


async def keep(trees: TreeCheckpoints, name: str = "one") -> str:
    return (await trees.keep(name, new_checkpoint_id())).commit


@pytest.mark.parametrize("change", STATES, ids=lambda change: change.__name__)
async def test_forth_and_back_and_forth_again(git: Git, trees: TreeCheckpoints, made: Worktree, change: Change) -> None:
    begin, first = seen(git, made.path), await keep(trees)
    change(git, made.path)
    changed, second = seen(git, made.path), await keep(trees)
    git.run("gc", "-q", "--prune=now")
    assert await trees.rewind("one", now=second, then=first) == ()
    assert seen(git, made.path) == begin
    assert await trees.rewind("one", now=first, then=second) == ()
    assert seen(git, made.path) == changed
    git.run("fsck", "--strict")


async def test_from_one_thicket_into_another(git: Git, trees: TreeCheckpoints, made: Worktree) -> None:
    edits(git, made.path)
    before, first = seen(git, made.path), await keep(trees)
    rebase(git, made.path)
    second = await keep(trees)
    await trees.rewind("one", now=second, then=first)
    assert seen(git, made.path) == before
    assert git.run("branch", "--show-current", cwd=made.path).strip() == "nexus/one"
    assert git.status(git.root) == ""


async def test_a_branch_of_its_own_that_is_checked_out_stays_so(
    git: Git, trees: TreeCheckpoints, made: Worktree
) -> None:
    git.run("switch", "-q", "-c", "topic", cwd=made.path)
    first = await keep(trees)
    (made.path / "new").write_text("x")
    await trees.rewind("one", now=await keep(trees), then=first)
    assert git.run("branch", "--show-current", cwd=made.path).strip() == "topic"


async def test_ignored_files_stay_and_are_never_written_over(git: Git, trees: TreeCheckpoints, made: Worktree) -> None:
    (made.path / "out").write_text("wanted\n")
    first = await keep(trees)
    (made.path / "out").unlink()
    (made.path / ".gitignore").write_text("out\nbuilt/\n")
    (made.path / "built").mkdir()
    (made.path / "built" / "x").write_text("slow to make\n")
    (made.path / "out").write_text("ignored now, and in no checkpoint\n")
    before, second = seen(git, made.path), await keep(trees)
    with pytest.raises(GitError, match="files that git ignores are in the way: out"):
        await trees.rewind("one", now=second, then=first)
    assert seen(git, made.path) == before
    (made.path / "out").unlink()
    await trees.rewind("one", now=second, then=first)
    assert (made.path / "out").read_text() == "wanted\n"
    assert (made.path / "built" / "x").read_text() == "slow to make\n"


async def test_files_are_converted_as_they_were_when_attributes_change(
    git: Git, trees: TreeCheckpoints, made: Worktree
) -> None:
    (made.path / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    first = await keep(trees)
    (made.path / ".gitattributes").write_text("*.txt text eol=lf\n")
    (made.path / "a.txt").write_bytes(b"one\ntwo\n")
    second = await keep(trees)
    await trees.rewind("one", now=second, then=first)
    assert (made.path / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
    await trees.rewind("one", now=first, then=second)
    assert (made.path / "a.txt").read_bytes() == b"one\ntwo\n"


async def test_a_git_at_work_is_not_disturbed(git: Git, trees: TreeCheckpoints, made: Worktree) -> None:
    first = await keep(trees)
    (made.path / "new").write_text("x")
    second = await keep(trees)
    (made.admin_dir / "index.lock").write_text("")
    with pytest.raises(Busy):
        await trees.rewind("one", now=second, then=first)
    assert (made.path / "new").exists()


async def test_nothing_is_written_through_a_link_that_leads_out(
    git: Git, trees: TreeCheckpoints, made: Worktree, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (made.path / "src" / "new.py").write_text("inside\n")
    first = await keep(trees)
    (made.path / "src" / "new.py").unlink()
    (made.path / "src" / "app.py").unlink()
    (made.path / "src").rmdir()
    (made.path / "src").symlink_to(outside)
    second = await keep(trees)
    await trees.rewind("one", now=second, then=first)
    assert list(outside.iterdir()) == []
    assert (made.path / "src" / "new.py").read_text() == "inside\n"
    # Once more, with the link planted behind our back: what was kept does not know of it.
    (made.path / "src" / "new.py").unlink()
    third = await keep(trees)
    Path(made.path / "src").rename(made.path / "away")
    (made.path / "src").symlink_to(outside)
    with pytest.raises(GitError):
        await trees.rewind("one", now=third, then=first)
    assert list(outside.iterdir()) == []


async def test_a_ref_that_was_moved_by_somebody_inside_is_put_right(
    git: Git, trees: TreeCheckpoints, made: Worktree
) -> None:
    (made.path / "idea").write_text("x")
    kept = await trees.keep("one", new_checkpoint_id())
    git.run("update-ref", kept.ref, "HEAD")
    await trees.secure(kept.ref, kept.commit)
    assert git.run("rev-parse", kept.ref).strip() == kept.commit
    git.run("update-ref", "-d", kept.ref)
    git.run("reflog", "expire", "--expire=now", "--all")
    git.run("gc", "-q", "--prune=now")
    with pytest.raises(CheckpointDamaged, match="is gone"):
        await trees.secure(kept.ref, kept.commit)


async def test_differences_name_every_file_with_its_size(git: Git, trees: TreeCheckpoints, made: Worktree) -> None:
    first = await keep(trees)
    (made.path / "new").write_text("12345")
    (made.path / "README.md").write_text("123")
    (made.path / "src" / "app.py").unlink()
    found = await trees.differences(first, await trees.look("one"))
    assert [(each.path, each.change, each.before, each.after) for each in found] == [
        ("README.md", "changed", 6, 3),
        ("new", "added", None, 5),
        ("src/app.py", "removed", 12, None),
    ]
    assert list(await trees.refs()) == git.run("for-each-ref", "--format=%(refname)", "refs/nexus/checkpoints").split()


async def test_only_work_that_is_nowhere_else_becomes_a_rescue(
    git: Git, trees: TreeCheckpoints, made: Worktree, worktrees: Worktrees
) -> None:
    clean = await keep(trees)
    assert await trees.keep_work("one", clean) is None
    git.commit("committed", cwd=made.path)
    committed = await keep(trees)
    assert await trees.keep_work("one", committed) is None
    (made.path / "idea").write_text("x")
    dirty = await keep(trees)
    ref = await trees.keep_work("one", dirty)
    assert ref is not None
    assert (await worktrees.rescues("one"))[0].ref == ref
    git.run("reset", "-q", "--hard", "HEAD~1", cwd=made.path)
    assert await trees.keep_work("one", committed) is None  # its commit is in the rescue already
    git.run("update-ref", "-d", ref)
    assert await trees.keep_work("one", committed) is not None


@pytest.mark.parametrize("change", [edits, rebase], ids=lambda change: change.__name__)
async def test_a_private_clone_goes_back_and_keeps_what_it_borrows(
    git: Git, worktrees: Worktrees, trees: TreeCheckpoints, change: Change
) -> None:
    made = await worktrees.create("one", reason=REASON, isolation="clone")
    begin, first = seen(git, made.path), await keep(trees)
    if change is rebase:
        (made.path / "README.md").write_text("committed\n")
        git.run("commit", "-qam", "mine", cwd=made.path)
        await worktrees.bring_back("one")
    edits(git, made.path)
    changed, second = seen(git, made.path), await keep(trees)
    await trees.rewind("one", now=second, then=first)
    assert seen(git, made.path) == begin
    await trees.rewind("one", now=first, then=second)
    assert seen(git, made.path) == changed
    for ref in await trees.refs():
        git.run("update-ref", "-d", ref)
    git.run("reflog", "expire", "--expire=now", "--all")
    git.run("gc", "-q", "--prune=now")
    assert seen(git, made.path) == changed
    git.run("fsck", "--connectivity-only", cwd=made.path)
    assert git.run("rev-parse", "nexus/one").strip() == git.head(made.path)


@pytest.mark.parametrize("isolation", ["worktree", "clone"])
async def test_a_fork_has_everything_on_a_branch_of_its_own(
    git: Git, worktrees: Worktrees, trees: TreeCheckpoints, isolation: str
) -> None:
    made = await worktrees.create("one", reason=REASON, isolation="clone" if isolation == "clone" else "worktree")
    edits(git, made.path)
    (made.path / "README.md").write_text("stashed\n")
    git.run("stash", "push", "-q", "README.md", cwd=made.path)
    before = seen(git, made.path)
    kept = await trees.keep("one", new_checkpoint_id())
    fork = await worktrees.restore("two", kept.ref, reason=REASON, isolation=made.isolation, fork=True)
    assert fork.isolation == isolation
    assert fork.notes == ()
    assert seen(git, fork.path)[1:] == before[1:]
    assert git.run("branch", "--show-current", cwd=fork.path).strip() == "nexus/two"
    assert seen(git, made.path) == before
    git.run("fsck", "--connectivity-only", cwd=fork.path)
