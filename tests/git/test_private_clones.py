"""Private clones in place of linked worktrees: made, worked in by the real git, brought back, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.errors import GitError, SyncConflict
from nexus.git import Worktree, Worktrees, container_mounts, examine, find_repository
from nexus.git.cloning import origin_for_clone
from tests.git.oracle import REASON, Git


async def cloned(worktrees: Worktrees, name: str = "a", **options: object) -> Worktree:
    return await worktrees.create(name, reason=REASON, isolation="clone", **options)  # type: ignore[arg-type]


def work(git: Git, tree: Worktree, path: str, content: str, message: str = "work") -> str:
    (tree.path / path).write_text(content)
    return git.commit(message, cwd=tree.path)


def sound(git: Git) -> None:
    assert git.run("fsck", "--full", "--strict", "--no-dangling") == ""


async def test_a_clone_is_a_repository_of_its_own(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    assert (tree.isolation, tree.registered, tree.head, tree.lock) == ("clone", True, git.head(), REASON)
    assert git.status(tree.path) == ""
    assert git.run("rev-parse", "--git-common-dir", "--show-toplevel", cwd=tree.path).split() == [
        ".git",
        str(tree.path),
    ]
    assert git.run("symbolic-ref", "HEAD", cwd=tree.path).strip() == "refs/heads/nexus/a"
    assert git.run("for-each-ref", "--format=%(refname)", cwd=tree.path).split() == ["refs/heads/nexus/a"]
    assert not (tree.path / ".git/hooks").exists()
    assert "worktree" not in git.run("worktree", "list", "--porcelain").replace(f"worktree {git.root}", "", 1)
    assert git.run("rev-parse", "nexus/a").strip() == git.head()
    assert [found.name for found in await worktrees.list()] == ["a"]
    assert (await worktrees.report("a")).clean
    assert git.status(git.root) == ""


async def test_nothing_of_the_main_configuration_but_what_files_look_like_is_taken_over(git: Git) -> None:
    git.run("config", "core.fsmonitor", "touch /tmp/never")
    git.run("config", "core.autocrlf", "input")
    git.run("config", "alias.x", "!touch /tmp/never")
    git.run("config", "credential.helper", "store")
    git.run("remote", "add", "origin", "https://me:token@example.org/repo.git")
    tree = await cloned(await git.worktrees())
    config = git.run("config", "--local", "--list", cwd=tree.path)
    assert "remote.origin.url=https://example.org/repo.git" in config
    assert "core.autocrlf=input" in config
    assert "user.email=person@example.org" in config
    assert not any(word in config for word in ("fsmonitor", "alias", "credential", "token"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://token@host/x.git", "https://host/x.git"),
        ("https://u:p@host:8443/x", "https://host:8443/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:pw@host:22/x", "ssh://git@host:22/x"),
        ("git@host:x.git", "git@host:x.git"),
        ("/srv/x.git", "/srv/x.git"),
    ],
)
def test_the_address_of_origin_loses_its_password(tmp_path: Path, url: str, shown: str) -> None:
    assert origin_for_clone(tmp_path, url) == shown


def test_a_relative_origin_is_made_absolute(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "up.git").mkdir()
    assert Path(origin_for_clone(tmp_path / "main", "../up.git")).samefile(tmp_path / "up.git")


async def test_the_container_sees_the_objects_read_only_and_nothing_else_of_git(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    mounts = [(mount.source, mount.read_only) for mount in container_mounts(await find_repository(git.root), tree)]
    assert mounts == [(str(tree.path), False), (str(git.root / ".git/objects"), True)]


@pytest.mark.parametrize("packed", [False, True])
async def test_its_branch_comes_back_and_main_does_not_need_the_clone(
    git: Git, worktrees: Worktrees, packed: bool
) -> None:
    before = git.head()
    tree = await cloned(worktrees)
    for number in range(20):
        work(git, tree, "grown.txt", f"line {number}\n" * (number * 50 + 1), f"step {number}")
    (tree.path / "sub").mkdir()
    (tree.path / "sub/link").symlink_to("../README.md")
    tip = work(git, tree, "sub/ü.bin", "\x00binary")
    git.run("tag", "-a", "-m", "tagged", "v1", cwd=tree.path)
    if packed:
        git.run("gc", "-q", cwd=tree.path)
        git.run("pack-refs", "--all", cwd=tree.path)
        assert list((tree.path / ".git/objects/pack").glob("*.pack"))
    done = await worktrees.sync("a")
    assert (done.before, done.after, done.fast_forwarded, done.fetched) == (before, tip, True, 1)
    assert "21 new commits" in done.message
    assert git.run("rev-parse", "refs/heads/nexus/a").strip() == tip
    assert git.run("for-each-ref", "--format=%(refname)", "refs/tags") == ""
    again = await worktrees.sync("a")
    assert (again.before, again.after, again.fetched) == (tip, tip, 0)
    assert await worktrees.remove("a", expected_tip=None, delete_branch=False) is False
    assert not tree.path.exists()
    sound(git)
    assert git.run("show", "nexus/a:grown.txt").count("line 19") == 951
    assert git.run("log", "--oneline", "nexus/a").count("\n") == 22


async def test_rewritten_history_comes_back_too(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    first = work(git, tree, "x", "1")
    await worktrees.sync("a")
    git.run("commit", "-q", "--amend", "-m", "better", cwd=tree.path)
    done = await worktrees.sync("a")
    assert (done.before, done.after, done.fast_forwarded) == (first, git.head(tree.path), False)
    assert "rewritten" in done.message
    assert first in git.run("reflog", "show", "--format=%H", "nexus/a")


async def test_a_branch_that_moved_in_main_is_not_overwritten(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    work(git, tree, "x", "1")
    theirs = git.commit("somebody's")
    git.run("update-ref", "refs/heads/nexus/a", theirs)
    with pytest.raises(SyncConflict, match="was moved in the main repository"):
        await worktrees.sync("a")
    assert git.run("rev-parse", "nexus/a").strip() == theirs


async def test_a_branch_that_is_checked_out_in_main_is_not_moved(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    tip = work(git, tree, "x", "1")
    git.run("checkout", "-q", "nexus/a")
    with pytest.raises(SyncConflict, match="checked out"):
        await worktrees.sync("a")
    assert git.head() != tip
    git.run("checkout", "-q", "main")
    git.run("branch", "-D", "nexus/a")
    assert (await worktrees.sync("a")).after == tip


async def test_the_report_tells_everything_that_only_the_clone_has(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    work(git, tree, "README.md", "committed\n", "on the branch")
    git.run("switch", "-q", "-c", "side", cwd=tree.path)
    work(git, tree, "side.txt", "1", "on another branch")
    git.run("switch", "-q", "nexus/a", cwd=tree.path)
    (tree.path / "src/app.py").write_text("stashed\n")
    git.run("stash", "push", "-qm", "half done", cwd=tree.path)
    (tree.path / "README.md").write_text("changed\n")
    (tree.path / "new.txt").write_text("new\n")
    (tree.path / "staged.txt").write_text("staged\n")
    git.run("add", "staged.txt", cwd=tree.path)
    refs = git.run("for-each-ref")
    report = await worktrees.report("a")
    assert git.run("for-each-ref") == refs
    assert (report.modified, report.untracked, report.staged) == (("README.md",), ("new.txt",), ("staged.txt",))
    assert report.stashes == ("half done",)
    assert {line.split(" ", 1)[1] for line in report.unreachable_subjects} >= {"on the branch", "on another branch"}
    assert report.unknown is None


async def test_a_rescue_keeps_everything_that_only_the_clone_has(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    tip = work(git, tree, "README.md", "committed\n")
    git.run("switch", "-q", "-c", "side", cwd=tree.path)
    side = work(git, tree, "side.txt", "1")
    git.run("switch", "-q", "nexus/a", cwd=tree.path)
    (tree.path / "src/app.py").write_text("stashed\n")
    git.run("stash", "push", "-q", cwd=tree.path)
    stash = git.run("rev-parse", "refs/stash", cwd=tree.path).strip()
    (tree.path / "README.md").write_text("changed\n")
    (tree.path / "staged.txt").write_text("staged\n")
    git.run("add", "staged.txt", cwd=tree.path)
    (tree.path / "staged.txt").write_text("and changed\n")
    ref = await worktrees.rescue("a")
    await worktrees.remove("a", expected_tip=tree.returned, delete_branch=True)
    sound(git)
    assert git.run("show", f"{ref}:README.md") == "changed\n"
    assert git.run("show", f"{ref}:staged.txt") == "and changed\n"
    parents = git.run("rev-parse", f"{ref}^@").split()
    assert "staged\n" in [git.run("show", f"{parent}:staged.txt", check=False) for parent in parents]
    kept = git.run("rev-list", "--glob=refs/nexus/rescue/*").split()
    assert {tip, side, stash} <= set(kept)


async def test_a_failed_creation_leaves_no_clone(git: Git, worktrees: Worktrees) -> None:
    git.write(".gitignore", "big\n")
    git.commit("ignore")
    git.write("big", b"x" * 100)
    with pytest.raises(GitError, match="come along"):
        await cloned(worktrees, include=["big"], include_max=10)
    assert await worktrees.get("a") is None
    assert git.run("branch", "--list", "nexus/*") == ""
    assert list((git.root / ".nexus/state/clones").iterdir()) == []
    tree = await cloned(worktrees, include=["big"])
    assert (tree.path / "big").exists()
    assert git.status(tree.path) == ""


async def test_the_same_name_may_be_a_worktree_afterwards(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    await worktrees.remove("a", expected_tip=tree.returned, delete_branch=True)
    linked = await worktrees.create("a", reason=REASON)
    assert (linked.isolation, (linked.path / ".git").is_file()) == ("worktree", True)
    outcome = await worktrees.bring_back("a")
    assert outcome.before == outcome.after == git.head()


async def test_a_repository_that_borrows_objects_is_refused(git: Git, tmp_path: Path, git_env: dict[str, str]) -> None:
    git.run("clone", "-q", "--shared", str(git.root), str(tmp_path / "borrower"))
    worktrees = await Git(tmp_path / "borrower", git_env).worktrees()
    with pytest.raises(GitError, match="borrows objects"):
        await cloned(worktrees)
    assert await worktrees.get("a") is None


async def test_a_shallow_repository_gives_a_shallow_clone(git: Git, tmp_path: Path, git_env: dict[str, str]) -> None:
    git.commit("second")
    git.run("clone", "-q", "--depth=1", f"file://{git.root}", str(tmp_path / "shallow"))
    shallow = Git(tmp_path / "shallow", git_env)
    worktrees = await shallow.worktrees()
    tree = await cloned(worktrees)
    tip = work(shallow, tree, "x", "1")
    assert (await worktrees.sync("a")).after == tip
    assert shallow.run("log", "--oneline", cwd=tree.path).count("\n") == 2
    sound(shallow)


async def test_a_clone_whose_tree_is_gone_still_has_its_branch(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    work(git, tree, "x", "1", "brought back")
    await worktrees.sync("a")
    tree.path.rename(git.root.parent / "moved")
    report = await worktrees.report("a")
    assert [line.split(" ", 1)[1] for line in report.unreachable_subjects] == ["brought back"]
    await worktrees.remove("a", expected_tip=None, delete_branch=False)
    assert list((git.root / ".nexus/state/clones").iterdir()) == []


async def test_a_rescued_clone_is_restored_as_a_linked_worktree(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    tip = work(git, tree, "done.txt", "committed\n")
    (tree.path / "README.md").write_text("changed\n")
    (tree.path / "staged.txt").write_text("staged\n")
    git.run("add", "staged.txt", cwd=tree.path)
    seen = git.status(tree.path)
    await worktrees.bring_back("a")
    ref = await worktrees.rescue("a")
    assert await worktrees.remove("a", expected_tip=tip, delete_branch=True)
    again = await worktrees.restore("a", ref, reason=REASON, isolation="clone")
    assert (again.isolation, again.head, again.registered) == ("worktree", tip, True)
    assert any("linked worktree" in note for note in again.notes)
    assert git.status(tree.path) == seen
    assert await examine(worktrees.repository) == ()
    sound(git)


async def test_what_only_a_branch_was_kept_of_is_a_clone_again(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    tip = work(git, tree, "done.txt", "committed\n")
    await worktrees.bring_back("a")
    ref = await worktrees.keep_tip("a", "0123456789", tip)
    assert await worktrees.remove("a", expected_tip=tip, delete_branch=True, behind=True)
    again = await worktrees.restore("a", ref, reason=REASON, isolation="clone")
    assert (again.isolation, again.head, again.returned, again.notes) == ("clone", tip, tip, ())
    assert (again.path / "done.txt").read_text() == "committed\n"
    assert git.status(again.path) == ""


async def test_everything_that_is_kept_of_a_clone_is_listed_and_can_be_dropped(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    git.run("switch", "-q", "-c", "side", cwd=tree.path)
    work(git, tree, "side.txt", "1")
    git.run("switch", "-q", "nexus/a", cwd=tree.path)
    (tree.path / "README.md").write_text("changed\n")
    # The second one may fall into the same second, and so be numbered itself.
    refs = {await worktrees.rescue("a"), await worktrees.rescue("a")}
    rescues = await worktrees.rescues("a")
    there = set(git.run("for-each-ref", "--format=%(refname)", "refs/nexus/rescue").split())
    assert {rescue.ref for rescue in rescues} == there
    assert len(there) == 4
    assert refs < there
    assert all([await worktrees.drop(rescue.ref, expected=rescue.commit) for rescue in rescues])


async def test_ignored_files_that_are_precious_count_in_a_clone_and_are_rescued(git: Git) -> None:
    git.write(".gitignore", "notes\n")
    git.commit("ignore")
    plain = await git.worktrees()
    worktrees = Worktrees(plain.repository, precious=["notes"])
    tree = await cloned(worktrees)
    (tree.path / "notes").write_text("mine\n")
    assert (await plain.report("a")).clean
    assert (await worktrees.report("a")).precious == ("notes",)
    ref = await worktrees.rescue("a")
    assert git.run("show", f"{ref}:notes") == "mine\n"


async def test_a_merge_with_what_no_ref_of_the_clone_names_is_restored_whole(git: Git, worktrees: Worktrees) -> None:
    tree = await cloned(worktrees)
    git.run("switch", "-q", "-c", "side", cwd=tree.path)
    other = work(git, tree, "README.md", "theirs\n")
    git.run("switch", "-q", "nexus/a", cwd=tree.path)
    git.run("branch", "-q", "-D", "side", cwd=tree.path)
    work(git, tree, "README.md", "ours\n")
    git.run("merge", "-q", other, cwd=tree.path, check=False)
    assert git.run("rev-parse", "MERGE_HEAD", cwd=tree.path).strip() == other
    await worktrees.bring_back("a")
    tip = git.run("rev-parse", "nexus/a").strip()
    ref = await worktrees.rescue("a")
    assert await worktrees.remove("a", expected_tip=tip, delete_branch=True)
    assert other in git.run("rev-list", ref).split()
    again = await worktrees.restore("a", ref, reason=REASON)
    assert git.run("log", "-1", "--format=%s", "MERGE_HEAD", cwd=again.path) == "work\n"
    sound(git)


async def test_the_users_own_gc_takes_nothing_that_a_clone_borrows(git: Git, worktrees: Worktrees) -> None:
    git.write("only-there", "borrowed\n")
    base = git.commit("what the clone starts from")
    clone = await worktrees.create("a", reason=REASON, isolation="clone")
    git.run("reset", "-q", "--hard", "HEAD~1")
    git.run("update-ref", "-d", "refs/heads/nexus/a")

    def collect() -> None:
        git.run("reflog", "expire", "--expire=now", "--all")
        git.run("gc", "-q", "--prune=now")

    collect()
    assert git.run("cat-file", "-t", base).strip() == "commit"
    assert git.run("fsck", "--no-dangling", cwd=clone.path) == ""
    assert git.run("show", "HEAD:only-there", cwd=clone.path) == "borrowed\n"
    # What it has borrowed since is kept from the next sync on.
    git.run("update-ref", "refs/heads/nexus/a", base)
    (clone.path / "more").write_text("more\n")
    tip = git.commit("more", cwd=clone.path)
    assert (await worktrees.sync("a")).after == tip
    git.run("gc", "-q", "--prune=now", cwd=clone.path)  # its own copies go: the main repository has them now
    git.run("update-ref", "-d", "refs/heads/nexus/a")
    collect()
    assert git.run("fsck", "--no-dangling", cwd=clone.path) == ""
    # With the clone goes the loan.
    await worktrees.remove("a", expected_tip=None, delete_branch=False)
    assert git.run("for-each-ref", "refs/nexus") == ""
    collect()
    assert git.run("cat-file", "-t", base, check=False) == ""
