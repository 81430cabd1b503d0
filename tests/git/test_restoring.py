"""What was rescued comes back as it was: the real git program says the same before and after."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.errors import BranchInUse, GitError, RefNotFound
from nexus.git import Worktree, Worktrees
from tests.git.oracle import REASON, Git


@pytest.fixture
async def made(git: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


def status(git: Git, tree: Path) -> str:
    return git.run("status", "--porcelain=v2", "--branch", "--show-stash", "--untracked-files=all", cwd=tree)


def seen(git: Git, tree: Path) -> tuple[object, ...]:
    """Everything that git and the file system say of a tree."""
    files = {
        os.fsencode(path.relative_to(tree)): (
            str(path.readlink()) if path.is_symlink() else path.read_bytes(),
            stat.S_IMODE(path.lstat().st_mode),
        )
        for path in sorted(tree.rglob("*"))
        if path.name != ".git" and (path.is_symlink() or path.is_file())
    }
    index = git.run("ls-files", "--stage", "-v", "-z", cwd=tree)
    flags = [line for line in git.run("ls-files", "--debug", cwd=tree).splitlines() if "flags:" in line]
    return status(git, tree), files, index, [line.partition("flags:")[2] for line in flags]


async def there_and_back(git: Git, worktrees: Worktrees, made: Worktree, name: str = "one") -> Worktree:
    """Rescue, remove as ``destroy --force`` does, collect garbage, restore."""
    ref = await worktrees.rescue("one")
    tip = git.run("rev-parse", "nexus/one").strip()
    await worktrees.remove("one", expected_tip=tip, delete_branch=True)
    assert not made.path.exists()
    assert git.run("for-each-ref", "refs/heads/nexus") == ""
    git.run("reflog", "expire", "--expire=now", "--all", "--expire-unreachable=now")
    git.run("gc", "-q", "--prune=now")
    git.run("fsck", "--strict")
    back = await worktrees.restore(name, ref, reason=REASON)
    assert git.run("rev-parse", f"nexus/{name}").strip() == tip
    assert git.run("for-each-ref", "--format=%(refname)", "refs/nexus/rescue").split() == [ref]
    return back


def edits(git: Git, tree: Path) -> None:
    (tree / "README.md").write_text("staged\n")
    (tree / "src" / "new.py").write_text("staged new\n")
    git.run("add", "-A", cwd=tree)
    (tree / "README.md").write_text("then changed\n")
    (tree / "untracked").mkdir()
    (tree / "untracked" / os.fsdecode(b"raw-\xff")).write_bytes(b"\0\1")
    (tree / "link").symlink_to("/nowhere")


def deletions(git: Git, tree: Path) -> None:
    git.run("rm", "-q", "--cached", "README.md", cwd=tree)
    (tree / "src" / "app.py").unlink()


def announced(git: Git, tree: Path) -> None:
    (tree / "later").write_text("announced\n")
    git.run("add", "-N", "later", cwd=tree)


def marks(git: Git, tree: Path) -> None:
    git.run("update-index", "--assume-unchanged", "README.md", cwd=tree)
    (tree / "README.md").write_text("changed behind git's back\n")
    git.run("update-index", "--skip-worktree", "src/app.py", cwd=tree)


def skipped(git: Git, tree: Path) -> None:
    git.run("update-index", "--skip-worktree", "src/app.py", cwd=tree)
    (tree / "src" / "app.py").unlink()


def kinds(git: Git, tree: Path) -> None:
    (tree / "src" / "app.py").unlink()
    (tree / "src").rmdir()
    (tree / "src").write_text("a file now")
    (tree / "README.md").unlink()
    (tree / "README.md").mkdir()
    (tree / "README.md" / "x").write_text("x")


def conflict(git: Git, tree: Path) -> None:
    (tree / "README.md").write_text("mine\n")
    git.run("rm", "-q", "src/app.py", cwd=tree)
    git.commit("mine", cwd=tree)
    git.write("README.md", "theirs\n")
    git.write("src/app.py", "theirs too\n")
    git.commit("theirs")
    git.run("merge", "main", cwd=tree, check=False)


def rebase(git: Git, tree: Path) -> None:
    for number in range(3):
        (tree / "README.md").write_text(f"mine {number}\n")
        git.commit(f"mine {number}", cwd=tree)
    git.write("README.md", "theirs\n")
    git.commit("theirs")
    git.run("rebase", "main", cwd=tree, check=False)


def cherry_pick(git: Git, tree: Path) -> None:
    git.run("checkout", "-q", "-b", "other")
    git.write("README.md", "theirs\n")
    git.commit("theirs")
    git.run("checkout", "-q", "main")
    (tree / "README.md").write_text("mine\n")
    git.commit("mine", cwd=tree)
    git.run("cherry-pick", "other", cwd=tree, check=False)


def revert(git: Git, tree: Path) -> None:
    (tree / "README.md").write_text("one\n")
    git.commit("to revert", cwd=tree)
    (tree / "README.md").write_text("two\n")
    git.commit("later", cwd=tree)
    git.run("revert", "HEAD~1", cwd=tree, check=False)


def bisect(git: Git, tree: Path) -> None:
    for number in range(6):
        (tree / "README.md").write_text(f"{number}\n")
        git.commit(str(number), cwd=tree)
    git.run("bisect", "start", "HEAD", "HEAD~5", cwd=tree)


def detached(git: Git, tree: Path) -> None:
    git.commit("on the branch", cwd=tree)
    git.run("checkout", "-q", "--detach", "HEAD~1", cwd=tree)
    (tree / "floating").write_text("x")
    git.commit("floating", cwd=tree)
    (tree / "more").write_text("y")


def private(git: Git, tree: Path) -> None:
    (tree / "secret").write_text("x")
    (tree / "secret").chmod(0o600)
    (tree / "tool").write_text("#!/bin/sh\n")
    (tree / "tool").chmod(0o700)


STATES = (
    edits, deletions, announced, marks, skipped, kinds, conflict, rebase, cherry_pick, revert, bisect, detached, private,
)  # fmt: skip


@pytest.mark.parametrize("change", STATES, ids=lambda change: change.__name__)
async def test_git_says_the_same_before_and_after(
    git: Git, worktrees: Worktrees, made: Worktree, change: Callable[[Git, Path], None]
) -> None:
    change(git, made.path)
    before = seen(git, made.path)
    report = await worktrees.report("one")
    assert not report.clean or change is skipped
    back = await there_and_back(git, worktrees, made)
    assert seen(git, back.path) == before
    assert await worktrees.report("one") == report
    git.run("fsck", "--strict")


@pytest.mark.parametrize("change", [conflict, rebase, cherry_pick, revert])
@pytest.mark.parametrize("verb", ["--abort", "--continue"])
async def test_an_operation_goes_on_where_it_was(
    git: Git, worktrees: Worktrees, made: Worktree, change: Callable[[Git, Path], None], verb: str
) -> None:
    change(git, made.path)
    copied = git.root.with_name("copy")
    back = await there_and_back(git, worktrees, made)
    tree = back.path
    command = {"conflict": "merge", "cherry_pick": "cherry-pick"}.get(change.__name__, change.__name__)
    if verb == "--continue":
        (tree / "README.md").write_text("settled\n")
        (tree / "src" / "app.py").write_text("settled\n")
        git.run("add", "-A", cwd=tree)
    for _ in range(4):
        git.run("-c", "core.editor=true", command, verb, cwd=tree, check=False)
        if "rebase" in command and verb == "--continue" and (back.admin_dir / "rebase-merge").exists():
            (tree / "README.md").write_text("settled again\n")
            git.run("add", "-A", cwd=tree)
    assert git.run("branch", "--show-current", cwd=tree).strip() == "nexus/one"
    assert git.status(tree) == ""
    assert not copied.exists()


async def test_a_bisect_goes_on_where_it_was(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    bisect(git, made.path)
    back = await there_and_back(git, worktrees, made)
    said = git.run("bisect", "good", cwd=back.path)
    assert "Bisecting" in said or "first bad commit" in said
    git.run("bisect", "reset", cwd=back.path)
    assert git.run("branch", "--show-current", cwd=back.path).strip() == "nexus/one"


async def test_the_three_stages_of_a_conflict_survive_garbage_collection(
    git: Git, worktrees: Worktrees, made: Worktree
) -> None:
    conflict(git, made.path)
    stages = git.run("ls-files", "--unmerged", cwd=made.path)
    assert {line.split()[2] for line in stages.splitlines()} == {"1", "2", "3"}
    back = await there_and_back(git, worktrees, made)
    assert git.run("ls-files", "--unmerged", cwd=back.path) == stages
    for line in stages.splitlines():
        git.run("cat-file", "-e", line.split()[1])


async def test_stashes_that_were_dropped_come_back_and_others_stay(
    git: Git, worktrees: Worktrees, made: Worktree
) -> None:
    git.write("README.md", "of the main checkout\n")
    git.run("stash", "push", "-q", "-m", "not ours")
    for number in range(2):
        (made.path / "README.md").write_text(f"idea {number}\n")
        git.run("stash", "push", "-q", "-m", f"idea {number}", cwd=made.path)
    before = git.run("stash", "list", "--format=%H %gs")
    ref = await worktrees.rescue("one")
    assert (await worktrees.rescues("one"))[0].stashes == 2
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    git.run("stash", "drop", "-q")
    git.run("stash", "drop", "-q")
    git.run("gc", "-q", "--prune=now")
    back = await worktrees.restore("one", ref, reason=REASON)
    assert git.run("stash", "list", "--format=%H %gs") == before
    git.run("stash", "pop", "-q", cwd=back.path)
    assert (back.path / "README.md").read_text() == "idea 1\n"


async def test_stashes_that_are_still_there_are_not_doubled(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "README.md").write_text("idea\n")
    git.run("stash", "push", "-q", cwd=made.path)
    before = git.run("stash", "list")
    ref = await worktrees.rescue("one")
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    await worktrees.restore("one", ref, reason=REASON)
    assert git.run("stash", "list") == before


@pytest.mark.parametrize("content", [b"one\r\ntwo\r\n", b"one\ntwo\n", b"mixed\r\nends\n", b"bin\0ary\r\n"])
async def test_line_ends_come_back_to_the_byte(git: Git, content: bytes) -> None:
    git.write(".gitattributes", "*.txt text eol=crlf\n*.auto text=auto\n")
    git.commit("attributes")
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    for name in ("a.txt", "a.auto", "a.plain"):
        (made.path / name).write_bytes(content)
    before = seen(git, made.path)
    back = await there_and_back(git, worktrees, made)
    assert seen(git, back.path) == before


async def test_under_another_name_a_rebase_moves_the_new_branch(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    rebase(git, made.path)
    back = await there_and_back(git, worktrees, made, "two")
    git.run("rebase", "--abort", cwd=back.path)
    assert git.run("branch", "--show-current", cwd=back.path).strip() == "nexus/two"
    assert git.run("for-each-ref", "refs/heads/nexus/one") == ""


async def test_a_branch_that_went_on_is_not_moved_back(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "idea").write_text("x")
    ref = await worktrees.rescue("one")
    await worktrees.remove("one", expected_tip=None, delete_branch=False)
    git.run("branch", "-f", "nexus/one", git.commit("later"))
    with pytest.raises(BranchInUse) as refused:
        await worktrees.restore("one", ref, reason=REASON)
    assert refused.value.hint
    back = await worktrees.restore("two", ref, reason=REASON)
    assert (back.path / "idea").read_text() == "x"


async def test_head_on_a_branch_that_moved_is_detached_and_said(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.run("checkout", "-q", "-b", "mine", cwd=made.path)
    (made.path / "idea").write_text("x")
    commit = git.head(made.path)
    ref = await worktrees.rescue("one")
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    git.run("branch", "-f", "mine", git.commit("later"))
    back = await worktrees.restore("one", ref, reason=REASON)
    assert git.head(back.path) == commit
    assert back.checked_out is None
    assert any("refs/heads/mine" in note for note in back.notes)


async def test_what_was_staged_is_kept_when_the_files_are_gone(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "idea").write_text("staged\n")
    git.run("add", "idea", cwd=made.path)
    shutil.rmtree(made.path)
    ref = await worktrees.rescue("one")
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    back = await worktrees.restore("one", ref, reason=REASON)
    assert git.status(back.path) == "A  idea\n"
    assert (back.path / "idea").read_text() == "staged\n"


async def test_a_clean_one_comes_back_from_its_tip(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    ref = await worktrees.keep_tip("one", "0b1c0b1c-rest", str(made.head))
    assert ref == "refs/nexus/destroyed/one/0b1c0b1c"
    assert await worktrees.keep_tip("one", "0b1c0b1c-rest", str(made.head)) == ref
    assert await worktrees.destroyed_tips() == {ref: made.head}
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    back = await worktrees.restore("one", ref, reason=REASON)
    assert (git.status(back.path), git.head(back.path)) == ("", made.head)
    assert not await worktrees.drop(ref, expected="0" * 40)
    assert await worktrees.drop(ref, expected=str(made.head))
    assert await worktrees.drop(ref, expected=str(made.head))
    assert git.run("for-each-ref", "refs/nexus") == ""


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/nexus/rescue/one/20200101T000000Z", "HEAD", "config", "../x"])
async def test_only_what_was_kept_can_be_restored_or_dropped(worktrees: Worktrees, made: Worktree, ref: str) -> None:
    with pytest.raises(RefNotFound):
        await worktrees.restorable_tip(ref)
    with pytest.raises(RefNotFound):
        await worktrees.restore("two", ref, reason=REASON)
    if "rescue" not in ref:
        with pytest.raises(GitError):
            await worktrees.drop(ref, expected=str(made.head))


def forged(git: Git, **files: bytes) -> str:
    """Write a rescue as somebody inside a container could."""
    head = git.head()
    names = {
        "manifest.json": b'{"name":"one","head":"%s","ref":"refs/heads/nexus/one","tip":"%s"}' % ((head.encode(),) * 2),
        "index": b"DIRC\0\0\0\2\0\0\0\0" + bytes(20),
    }
    names |= {path.replace("__", "/"): content for path, content in files.items()}
    git.run("read-tree", "--empty")
    for path, content in names.items():
        sha = git.run("hash-object", "-w", "--stdin", stdin=content).strip()
        git.run("update-index", "--add", "--cacheinfo", f"100644,{sha},{path}")
    tree = git.run("write-tree").strip()
    git.run("read-tree", "HEAD")
    state = git.run("commit-tree", tree, "-m", "nexus: state of the worktree one").strip()
    commit = git.run("commit-tree", "HEAD^{tree}", "-p", head, "-p", state, "-m", "forged").strip()
    ref = "refs/nexus/rescue/one/20300101T000000Z"
    git.run("update-ref", ref, commit)
    return ref


@pytest.mark.parametrize("path", ["admin/config.worktree", "admin/commondir", "admin/hooks/pre-commit", "admin/gitdir"])
async def test_a_forged_rescue_writes_nothing_that_git_obeys(git: Git, worktrees: Worktrees, path: str) -> None:
    ref = forged(git, **{path.replace("/", "__"): b"[core]\n\tfsmonitor = touch /tmp/x\n"})
    with pytest.raises(GitError, match="no state of an operation"):
        await worktrees.restore("one", ref, reason=REASON)
    assert await worktrees.list() == ()


async def test_a_forged_rescue_cannot_name_commits_that_it_does_not_hold(git: Git, worktrees: Worktrees) -> None:
    other = git.commit("other")
    ref = forged(git, **{"manifest.json": b'{"name":"one","head":null,"ref":null,"tip":"%s"}' % other.encode()})
    git.run("update-ref", "refs/heads/main", f"{other}~1")
    assert git.run("rev-parse", f"{ref}^1").strip() == other
    sneaky = git.run("commit-tree", "HEAD^{tree}", "-p", f"{other}~1", "-p", f"{ref}^2", "-m", "x").strip()
    git.run("update-ref", ref, sneaky)
    with pytest.raises(GitError, match="does not hold"):
        await worktrees.restore("one", ref, reason=REASON)


async def test_a_forged_index_cannot_reach_out(git: Git, worktrees: Worktrees) -> None:
    from nexus.git.index_file import FILE, entry_for, format_index

    ref = forged(git, index=format_index([entry_for(b".git/hooks/x", FILE, bytes(20), None)]))
    with pytest.raises(GitError, match="cannot be written safely"):
        await worktrees.restore("one", ref, reason=REASON)


async def test_links_among_the_state_of_an_operation_are_named_and_not_followed(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("the host's secret\n")
    (made.admin_dir / "MERGE_MSG").symlink_to(tmp_path / "secret")
    (made.admin_dir / "rebase-merge").symlink_to(tmp_path)
    (made.path / "idea").write_text("x")
    await worktrees.rescue("one")
    assert any("MERGE_MSG" in line for line in (await worktrees.rescues())[0].left)
    listed = git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
    for sha, kind in map(str.split, listed.splitlines()):
        assert kind != "blob" or "host's secret" not in git.run("cat-file", "blob", sha)


async def test_rescues_are_listed_newest_first_and_by_name(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "idea").write_text("12345")
    refs = [await worktrees.rescue("one") for _ in range(3)]
    await worktrees.create("two", reason=REASON)
    other = await worktrees.rescue("two")
    git.run("update-ref", "refs/nexus/rescue/..bad".replace("..", "x_"), "HEAD")
    git.run("update-ref", "refs/nexus/rescue/one/strange", "HEAD")
    assert [rescue.ref for rescue in await worktrees.rescues("one")] == refs[::-1]
    assert {rescue.ref for rescue in await worktrees.rescues()} == {*refs, other}
    first = (await worktrees.rescues("one"))[0]
    assert (first.base, first.head, first.files, first.size) == (made.head, made.head, 1, 5)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "add", "unstage", "announce", "commit", "exec", "link", "folder"]),
        st.sampled_from(["README.md", "src/app.py", "new", "src", "deep/er/file", "src/x"]),
        st.sampled_from(["", "one\n", "two\n", "long " * 50]),
    ),
    max_size=12,
)


def act(git: Git, tree: Path, what: str, path: str, content: str) -> None:  # noqa: PLR0912 - one branch for each kind of edit
    file = tree / path
    gone = what in {"write", "link", "folder"} and (file.is_dir() and not file.is_symlink())
    if gone:
        shutil.rmtree(file)
    match what:
        case "write" | "link" | "folder":
            for parent in reversed(file.relative_to(tree).parents[:-1]):
                above = tree / parent
                if above.is_symlink() or above.is_file():
                    above.unlink()
                above.mkdir(exist_ok=True)
            if os.path.lexists(file):
                file.unlink()
            if what == "write":
                file.write_text(content)
            elif what == "link":
                file.symlink_to(content.strip() or "nowhere")
            else:
                file.mkdir()
        case "delete":
            if file.is_symlink() or file.is_file():
                file.unlink()
            elif file.is_dir():
                shutil.rmtree(file)
        case "exec":
            if file.is_file() and not file.is_symlink():
                file.chmod(0o755)
        case "add":
            git.run("add", "-A", "--", path, cwd=tree, check=False)
        case "announce":
            git.run("add", "-N", "--", path, cwd=tree, check=False)
        case "unstage":
            git.run("reset", "-q", "--", path, cwd=tree, check=False)
        case _:
            git.run("commit", "-q", "-m", "x", cwd=tree, check=False)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
async def test_whatever_was_done_comes_back_identical(
    git: Git, worktrees: Worktrees, actions: list[tuple[str, ...]]
) -> None:
    made = await worktrees.create("one", reason=REASON)
    try:
        for what, path, content in actions:
            act(git, made.path, what, path, content)
        before = seen(git, made.path)
        ref = await worktrees.rescue("one")
        tip = git.run("rev-parse", "nexus/one").strip()
        assert await worktrees.remove("one", expected_tip=tip, delete_branch=True)
        back = await worktrees.restore("one", ref, reason=REASON)
        assert seen(git, back.path) == before
    finally:
        await worktrees.remove("one", expected_tip=None, delete_branch=False)
        git.run("update-ref", "-d", "refs/heads/nexus/one")


async def test_the_lock_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus.git import removing

    lock = git.root / ".git" / "refs" / "heads" / "nexus" / "one.lock"
    assert not await worktrees.drop_stale_lock("one")
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert await worktrees.drop_stale_lock("one")
    assert not lock.exists()
    lock.touch()
    looks = iter(range(1000))
    real = removing._identity

    def busy(path: Path) -> tuple[int, int, int] | None:
        if next(looks) == 1:
            path.write_text("still at work")
        return real(path)

    monkeypatch.setattr(removing, "_identity", busy)
    assert not await worktrees.drop_stale_lock("one")
    assert lock.exists()
