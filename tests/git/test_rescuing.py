from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nexus.errors import GitError
from nexus.git import Worktree, Worktrees
from tests.git.oracle import REASON, Git
from tests.git.test_checked_out_content import snapshot


@pytest.fixture
async def made(git: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


async def test_everything_comes_back_by_checkout(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    (made.path / "README.md").write_text("changed\n")
    (made.path / "src" / "app.py").unlink()
    (made.path / "src" / "new.py").write_text("new\n")
    (made.path / "run.sh").write_text("#!/bin/sh\n")
    (made.path / "run.sh").chmod(0o755)
    (made.path / "link").symlink_to("/nowhere")
    (made.path / "deep" / "er").mkdir(parents=True)
    (made.path / "deep" / "er" / os.fsdecode(b"raw-\xff")).write_bytes(b"\0\1\2")
    (made.path / ".gitignore").write_text("*.log\n")
    (made.path / "noise.log").write_text("ignored")
    before = snapshot(made.path)
    ref = await worktrees.rescue("one")
    assert re.fullmatch(r"refs/nexus/rescue/one/\d{8}T\d{6}Z", ref)
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    git.run("worktree", "add", "-q", "--detach", str(tmp_path / "back"), ref)
    after = snapshot(tmp_path / "back")
    del before["noise.log"]
    assert after == before
    git.run("fsck", "--strict")
    assert git.run("rev-parse", f"{ref}^1").strip() == made.head
    git.run("gc", "-q", "--prune=now")
    assert git.run("cat-file", "-t", ref).strip() == "commit"


async def test_a_clean_one_is_kept_too(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    ref = await worktrees.rescue("one")
    assert git.run("rev-parse", f"{ref}^{{tree}}") == git.run("rev-parse", "HEAD^{tree}")


async def test_commits_survive_with_it(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    commit = git.commit("work", cwd=made.path)
    ref = await worktrees.rescue("one")
    await worktrees.remove("one", expected_tip=commit, delete_branch=True)
    assert git.run("rev-parse", f"{ref}^1").strip() == commit


async def test_the_branch_survives_when_head_is_elsewhere(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    branch = git.commit("on the branch", cwd=made.path)
    git.run("checkout", "-q", "--detach", "HEAD~1", cwd=made.path)
    floating = git.commit("floating", cwd=made.path)
    ref = await worktrees.rescue("one")
    assert git.run("rev-parse", f"{ref}^1", f"{ref}^2").split() == [floating, branch]


async def test_what_was_staged_is_kept_beside_what_was_not(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "README.md").write_text("staged\n")
    git.run("add", "README.md", cwd=made.path)
    (made.path / "README.md").write_text("then changed\n")
    ref = await worktrees.rescue("one")
    assert git.run("show", f"{ref}:README.md") == "then changed\n"
    assert git.run("show", f"{ref}^2:README.md") == "staged\n"


async def test_two_in_one_second_do_not_meet(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    refs = {await worktrees.rescue("one") for _ in range(3)}
    assert len(refs) == 3
    assert len(git.run("for-each-ref", "refs/nexus/rescue").splitlines()) == 3


async def test_a_merge_conflict_is_kept_as_it_is(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "README.md").write_text("mine\n")
    git.commit("mine", cwd=made.path)
    git.write("README.md", "theirs\n")
    git.commit("theirs")
    git.run("merge", "main", cwd=made.path, check=False)
    conflict = (made.path / "README.md").read_text()
    assert "<<<<<<<" in conflict
    ref = await worktrees.rescue("one")
    assert git.run("show", f"{ref}:README.md") == conflict
    assert "A merge was in progress" in git.run("log", "-1", "--format=%B", ref)


async def test_announced_and_replaced_files_are_kept(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "later").write_text("announced\n")
    git.run("add", "-N", "later", cwd=made.path)
    (made.path / "src" / "app.py").unlink()
    (made.path / "src").rmdir()
    (made.path / "src").write_text("a file now")
    (made.path / "README.md").unlink()
    (made.path / "README.md").mkdir()
    (made.path / "README.md" / "x").write_text("x")
    ref = await worktrees.rescue("one")
    names = git.run("ls-tree", "-r", "--name-only", ref).split()
    assert names == ["README.md/x", "later", "src"]
    assert git.run("show", f"{ref}:later") == "announced\n"


@pytest.mark.parametrize("content", [b"one\r\ntwo\r\n", b"one\ntwo\n", b"mixed\r\nends\n", b"bin\0ary\r\n"])
async def test_line_ends_come_back_exactly(git: Git, tmp_path: Path, content: bytes) -> None:
    git.write(".gitattributes", "*.txt text eol=crlf\n*.auto text=auto\n")
    git.commit("attributes")
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    for name in ("a.txt", "a.auto", "a.plain"):
        (made.path / name).write_bytes(content)
    ref = await worktrees.rescue("one")
    git.run("worktree", "add", "-q", "--detach", str(tmp_path / "back"), ref)
    for name in ("a.txt", "a.auto", "a.plain"):
        if name == "a.txt" and content in {b"one\ntwo\n", b"mixed\r\nends\n"}:
            # No checkout under eol=crlf gives a bare LF; the content itself is kept, byte for byte.
            assert git.run("cat-file", "blob", f"{ref}:{name}").encode() == content
        else:
            assert (tmp_path / "back" / name).read_bytes() == content, name
    if content == b"one\r\ntwo\r\n":
        assert git.run("cat-file", "blob", f"{ref}:a.txt") == "one\ntwo\n", "stored as git would, so that it compares"


async def test_a_file_that_is_too_large_is_not_dropped_but_refused(worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "large").write_bytes(b"x" * 2000)
    with pytest.raises(GitError, match="large") as caught:
        await worktrees.rescue("one", max_file_bytes=1999)
    assert caught.value.hint
    assert await worktrees.rescue("one", max_file_bytes=2000)


@pytest.mark.parametrize("what", ["nested", "hostile"])
async def test_what_no_commit_can_hold_is_refused(git: Git, worktrees: Worktrees, made: Worktree, what: str) -> None:
    if what == "nested":
        git.run("init", "-q", str(made.path / "vendor"))
    else:
        (made.path / ".GIT").write_text("x")
    with pytest.raises(GitError, match="cannot be kept whole"):
        await worktrees.rescue("one")
    assert git.run("for-each-ref", "refs/nexus") == ""


async def test_an_unreadable_file_is_refused(
    git: Git, worktrees: Worktrees, made: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus.git import beneath

    (made.path / "secret").write_text("x")
    read = beneath.read_file

    def denied(root: int, path: bytes, *, limit: int | None = None) -> bytes:
        if path == b"secret":
            raise PermissionError(13, "Permission denied")
        return read(root, path, limit=limit)

    monkeypatch.setattr(beneath, "read_file", denied)
    with pytest.raises(GitError, match=r"secret \(Permission denied\)"):
        await worktrees.rescue("one")


async def test_sockets_and_pipes_are_named_and_left(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    os.mkfifo(made.path / "pipe")
    ref = await worktrees.rescue("one")
    assert "pipe" in git.run("log", "-1", "--format=%B", ref)
    assert (await worktrees.report("one")).clean


async def test_the_commits_alone_when_the_tree_is_gone(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    commit = git.commit("work", cwd=made.path)
    made.path.rename(made.path.with_name("away"))
    ref = await worktrees.rescue("one")
    assert git.run("rev-parse", ref).strip() == commit


async def test_nothing_to_rescue_is_an_error(worktrees: Worktrees) -> None:
    with pytest.raises(GitError, match="no worktree"):
        await worktrees.rescue("nothing")


async def test_content_behind_a_swapped_folder_is_never_read(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder becomes a link between the moment we look and the moment we read."""
    from nexus.git import rescue

    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "app.py").write_text("the host's secret\n")
    (made.path / "src" / "app.py").write_text("changed, of another size\n")
    keep = rescue._keep

    def swapped(*args: object, **limits: object) -> object:
        if (made.path / "src").is_symlink():
            return keep(*args, **limits)  # type: ignore[arg-type]
        (made.path / "src").rename(tmp_path / "away")
        (made.path / "src").symlink_to(outside)
        return keep(*args, **limits)  # type: ignore[arg-type]

    monkeypatch.setattr(rescue, "_keep", swapped)
    with pytest.raises(GitError, match=r"src/app\.py"):
        await worktrees.rescue("one")
    for sha in git.run("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)").splitlines():
        name, kind = sha.split()
        assert kind != "blob" or "secret" not in git.run("cat-file", "blob", name)
