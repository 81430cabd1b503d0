"""Trees that no commit can hold are moved aside whole, listed, given back and pruned: nothing in them is dropped, nothing obeyed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus.errors import BranchInUse, GitError
from nexus.git import Worktree, Worktrees, examine
from tests.git.oracle import REASON, Git


def nested(git: Git, tree: Path) -> None:
    inner = tree / "vendor/lib"
    inner.mkdir(parents=True)
    git.run("init", "-q", cwd=inner)
    (inner / "work.txt").write_text("committed\n")
    git.commit("inner", cwd=inner)
    (inner / "work.txt").write_text("and more\n")


def huge(git: Git, tree: Path) -> None:
    del git
    with (tree / "huge.bin").open("wb") as file:
        file.truncate(1 << 41)
        file.seek(1 << 40)
        file.write(b"in the middle")


def no_head(git: Git, tree: Path) -> None:
    del tree
    head = git.root / ".git/worktrees/nexus@one/HEAD"
    head.unlink()
    os.mkfifo(head)


def no_index(git: Git, tree: Path) -> None:
    del tree
    (git.root / ".git/worktrees/nexus@one/index").write_bytes(b"DIRC, or so it says")


def no_entry(git: Git, tree: Path) -> None:
    del tree
    entry = git.root / ".git/worktrees/nexus@one"
    for path in sorted(entry.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    entry.rmdir()


def foreign_lock(git: Git, tree: Path) -> None:
    del tree
    (git.root / ".git/worktrees/nexus@one/locked").write_text("mine now\n")


DAMAGE = [nested, huge, no_head, no_index, no_entry, foreign_lock]


def everything(tree: Path) -> dict[str, object]:
    """Return what a tree holds, by path; git's own pointer and the middle of nothing left out."""
    found: dict[str, object] = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        if name == ".git":
            continue
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(1 << 40 if size > 1 << 40 else 0)
                found[name] = (size, file.read(13) if size > 1 << 40 else file.read())
        else:
            found[name] = None
    return found


async def force(worktrees: Worktrees, name: str, tip: str) -> str:
    """Do what a forced destroy does when a rescue is refused."""
    with pytest.raises(GitError) as refused:
        await worktrees.rescue(name)
    ref = await worktrees.pin(name, refused.value.message)
    await worktrees.remove(name, expected_tip=tip, delete_branch=True, behind=True, aside=ref)
    return ref


@pytest.mark.parametrize("damage", DAMAGE)
async def test_force_ends_and_everything_comes_back(
    git: Git, worktrees: Worktrees, damage: Callable[[Git, Path], None]
) -> None:
    made = await worktrees.create("one", reason=REASON)
    (made.path / "README.md").write_text("mine\n")
    (made.path / "link").symlink_to("/etc")
    tip = git.commit("only here", cwd=made.path)
    (made.path / "staged").write_text("staged\n")
    git.run("add", "staged", cwd=made.path)
    blob = git.run("rev-parse", ":staged", cwd=made.path).strip()
    damage(git, made.path)
    before = everything(made.path)
    ref = await force(worktrees, "one", tip)
    assert re.fullmatch(r"refs/nexus/kept/one/\d{8}T\d{6}Z", ref)
    assert not made.path.exists()
    assert not (git.root / ".git/worktrees").exists()
    assert git.run("branch", "--list", "nexus/*") == ""
    assert git.status(git.root) == ""
    (kept,) = await worktrees.rescues("one")
    assert (kept.ref, kept.tree, kept.base) == (
        ref,
        git.root / ".nexus/kept/one" / ref.rpartition("/")[2] / "tree",
        tip,
    )
    assert kept.reason
    assert kept.size
    # The user's own housekeeping takes nothing that the tree needs.
    git.run("reflog", "expire", "--expire=now", "--all")
    git.run("gc", "-q", "--prune=now")
    git.run("cat-file", "-e", tip)
    if damage not in {no_index, no_entry}:
        git.run("cat-file", "-e", blob)
    assert await worktrees.restorable_tip(ref) == tip
    again = await worktrees.restore("one", ref, reason=REASON)
    assert everything(again.path) == before
    assert git.run("rev-parse", "nexus/one").strip() == tip
    assert again.lock == REASON
    assert again.notes[0].startswith("made from the tree that was set aside because ")
    if damage in {nested, huge, foreign_lock}:
        assert "A  staged" in git.status(again.path)
        assert await examine(worktrees.repository) == ()
    if damage is nested:
        assert git.run("show", "HEAD:work.txt", cwd=again.path / "vendor/lib") == "committed\n"
        assert (await worktrees.report("one")).untracked == ("vendor/lib/",)
    if damage is no_entry:
        assert git.status(again.path) == "?? staged\n"
    assert kept.tree is not None
    assert kept.tree.exists()
    assert await worktrees.drop(ref, expected=kept.commit)
    assert not kept.tree.exists()
    assert await worktrees.rescues("one") == ()
    assert git.run("for-each-ref", "refs/nexus/kept") == ""


async def test_a_damaged_clone_is_set_aside_and_stays_a_clone(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON, isolation="clone")
    (made.path / "README.md").write_text("mine\n")
    tip = git.commit("only in the clone", cwd=made.path)
    (made.path / ".git/objects" / tip[:2] / tip[2:]).chmod(0o644)
    (made.path / ".git/objects" / tip[:2] / tip[2:]).write_bytes(b"damaged")
    base = git.head()
    ref = await force(worktrees, "one", base)
    assert await worktrees.list() == ()
    assert git.run("for-each-ref", "refs/nexus/lent") == ""
    again = await worktrees.restore("one", ref, reason=REASON)
    assert again.isolation == "clone"
    assert (again.path / ".git/objects" / tip[:2] / tip[2:]).read_bytes() == b"damaged"
    assert (again.path / "README.md").read_text() == "mine\n"


async def test_it_may_be_moved_again_after_a_crash_in_between(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    nested(git, made.path)
    ref = await worktrees.pin("one", "why")
    assert await worktrees.rescues("one") == ()
    folder = git.root / ".nexus/kept/one" / ref.rpartition("/")[2]
    made.path.rename(folder / "tree")
    for _ in range(2):
        await worktrees.remove("one", expected_tip=git.head(), delete_branch=True, aside=ref)
    assert (folder / "tree/vendor/lib/work.txt").read_text() == "and more\n"
    assert (folder / "git/HEAD").exists()


async def test_what_cannot_be_given_back_is_said(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    nested(git, made.path)
    ref = await force(worktrees, "one", git.head())
    with pytest.raises(GitError, match="only be restored under that name"):
        await worktrees.restore("two", ref, reason=REASON)
    git.run("branch", "nexus/one", git.commit("later"))
    with pytest.raises(BranchInUse, match="not where it was"):
        await worktrees.restore("one", ref, reason=REASON)
    assert await worktrees.list() == ()
    git.run("branch", "-D", "nexus/one")
    note = git.root / ".nexus/kept/one" / ref.rpartition("/")[2] / "kept.json"
    note.write_text("{")
    (kept,) = await worktrees.rescues("one")
    assert kept.reason == "its note is damaged"
    with pytest.raises(GitError, match="cannot be read"):
        await worktrees.restore("one", ref, reason=REASON)


async def test_pointers_that_were_changed_are_not_taken_over(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    made = await worktrees.create("one", reason=REASON)
    nested(git, made.path)
    admin = git.root / ".git/worktrees/nexus@one"
    (admin / "commondir").write_text(f"{tmp_path}\n")
    (admin / "gitdir").unlink()
    (admin / "gitdir").symlink_to(tmp_path / "victim")
    (made.path / ".git").unlink()
    (made.path / ".git").mkdir()
    (made.path / ".git/config").write_text("[core]\n\tfsmonitor = touch ran\n")
    ref = await force(worktrees, "one", git.head())
    again = await worktrees.restore("one", ref, reason=REASON)
    assert await examine(worktrees.repository) == ()
    assert not (tmp_path / "victim").exists()
    # What stood in the pointer's place may be work.
    (aside,) = again.path.glob(".git.*")
    assert (aside / "config").exists()


async def test_a_branch_whose_worktree_is_gone_altogether_is_kept_by_its_commit(git: Git, worktrees: Worktrees) -> None:
    made: Worktree = await worktrees.create("one", reason=REASON)
    tip = git.commit("only here", cwd=made.path)
    git.run("worktree", "unlock", str(made.path))
    git.run("worktree", "remove", "--force", str(made.path))
    assert git.run("rev-parse", await worktrees.rescue("one")).strip() == tip
