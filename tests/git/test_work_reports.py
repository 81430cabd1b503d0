from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexus.git import WorkReport, Worktree, Worktrees
from tests.git.oracle import REASON, Git


@pytest.fixture
async def made(git: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


async def test_a_fresh_one_is_clean(worktrees: Worktrees, made: Worktree) -> None:
    report = await worktrees.report("one")
    assert report == WorkReport(name="one", branch="nexus/one", head=made.head)
    assert report.clean
    assert report.lines() == ()


async def test_one_that_is_not_there_is_clean(worktrees: Worktrees) -> None:
    assert (await worktrees.report("nothing")).clean


async def test_modified_deleted_staged_and_untracked_are_told_apart(
    git: Git, worktrees: Worktrees, made: Worktree
) -> None:
    (made.path / "README.md").write_text("changed\n")
    (made.path / "src" / "app.py").unlink()
    (made.path / "staged.txt").write_text("s\n")
    git.run("add", "staged.txt", cwd=made.path)
    (made.path / "new dir").mkdir()
    (made.path / "new dir" / "file").write_text("n\n")
    (made.path / "link").symlink_to("/etc/passwd")
    report = await worktrees.report("one")
    assert report.modified == ("README.md",)
    assert report.deleted == ("src/app.py",)
    assert report.staged == ("staged.txt",)
    assert report.untracked == ("link", "new dir/file")
    assert not report.clean
    assert report.lines() == (
        "modified: README.md",
        "deleted: src/app.py",
        "staged: staged.txt",
        "untracked: link",
        "untracked: new dir/file",
    )


async def test_a_change_of_the_same_size_within_the_same_second_is_seen(
    git: Git, worktrees: Worktrees, made: Worktree
) -> None:
    file = made.path / "README.md"
    before = file.stat()
    file.write_text("HELLO\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (await worktrees.report("one")).modified == ("README.md",)


async def test_a_touched_file_is_not_modified(worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "README.md").touch()
    assert (await worktrees.report("one")).clean


async def test_the_executable_bit_and_the_kind_count(worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "README.md").chmod(0o755)
    (made.path / "src" / "app.py").unlink()
    (made.path / "src" / "app.py").symlink_to("../README.md")
    assert (await worktrees.report("one")).modified == ("README.md", "src/app.py")


async def test_a_file_in_place_of_a_folder_and_the_reverse(worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "src" / "app.py").unlink()
    (made.path / "src").rmdir()
    (made.path / "src").write_text("now a file")
    (made.path / "README.md").unlink()
    (made.path / "README.md").mkdir()
    (made.path / "README.md" / "inside").write_text("x")
    report = await worktrees.report("one")
    assert report.deleted == ("src/app.py",)
    assert report.modified == ("README.md",)
    assert report.untracked == ("README.md/inside", "src")


async def test_a_folder_replaced_by_a_link_hides_nothing(worktrees: Worktrees, made: Worktree, tmp_path: Path) -> None:
    (made.path / "src").rename(tmp_path / "outside")
    (made.path / "src").symlink_to(tmp_path / "outside")
    report = await worktrees.report("one")
    assert report.deleted == ("src/app.py",)
    assert report.untracked == ("src",)


async def test_hidden_by_index_flags_is_not_hidden(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    for flag, file in (("--assume-unchanged", "README.md"), ("--skip-worktree", "src/app.py")):
        git.run("update-index", flag, file, cwd=made.path)
        (made.path / file).write_text("hidden work\n")
    assert git.status(made.path) == "", "git itself is fooled"
    assert (await worktrees.report("one")).modified == ("README.md", "src/app.py")


async def test_ignored_files_are_no_work(git: Git, worktrees: Worktrees) -> None:
    """Compared with ``git status`` over rules of every rank."""
    git.write(
        ".gitignore",
        "*.log\n!keep.log\nbuild/\n/top\n# note\n\\#odd\ntrailing \ndoc/**/gen\nfoo/*\n!foo/bar\n[ab].x\n*.TMP\nspace\\ \n",
    )
    git.write("sub/.gitignore", "!*.log\nlocal\n/anchored\n")
    git.write(".git/info/exclude", "excluded\n")
    git.write("../home/.config/git/ignore", "personal\n")
    git.write("build-not/keep", "k")
    git.write("tracked.log", "t")
    git.run("add", "-f", "tracked.log")
    git.commit("rules")
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    paths = [
        "a.log", "keep.log", "build/x", "sub/build/y", "top", "sub/top", "#odd", "trailing", "doc/gen", "doc/a/b/gen", "foo/one", "foo/bar",
        "foo/bar2/x", "a.x", "c.x", "x.tmp", "x.TMP", "space ", "sub/b.log", "sub/local", "sub/in/local", "sub/anchored",
        "sub/in/anchored", "excluded", "deep/excluded", "personal", "deep/personal", "normal", "build-not/new", "umläut", "q\"uote",
    ]  # fmt: skip
    for path in paths:
        file = made.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (made.path / os.fsdecode(b"raw-\xff")).write_text("x")
    theirs = git.run("ls-files", "-o", "-z", "--exclude-standard", cwd=made.path).split("\0")
    report = await worktrees.report("one")
    expected = sorted(os.fsencode(path).decode("utf-8", "backslashreplace") for path in theirs if path)
    assert sorted(report.untracked) == expected
    assert report.modified == report.deleted == report.staged == ()


async def test_commits_that_exist_nowhere_else_are_counted(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.commit("first work", cwd=made.path)
    git.commit("second work", cwd=made.path)
    report = await worktrees.report("one")
    assert report.unreachable == 2
    assert [subject.split(" ", 1)[1] for subject in report.unreachable_subjects] == ["second work", "first work"]
    assert report.lines()[0] == "2 commits exist nowhere else"
    git.run("tag", "-a", "kept", "-m", "kept", "nexus/one~1")
    assert (await worktrees.report("one")).unreachable == 1
    git.run("update-ref", "refs/remotes/origin/nexus/one", "nexus/one")
    assert (await worktrees.report("one")).clean


async def test_merged_work_is_not_lost(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "w").write_text("w")
    git.commit("work", cwd=made.path)
    git.commit("meanwhile")
    git.run("merge", "-q", "-m", "merged", "nexus/one")
    assert (await worktrees.report("one")).clean


@pytest.mark.parametrize("ref", ["refs/stash", "refs/nexus/rescue/one/x", "refs/notes/x", "refs/pull/1/head"])
async def test_other_refs_are_no_safe_place(git: Git, worktrees: Worktrees, made: Worktree, ref: str) -> None:
    git.commit("work", cwd=made.path)
    git.run("update-ref", ref, "nexus/one")
    assert (await worktrees.report("one")).unreachable == 1


async def test_work_on_a_detached_head_is_seen(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.run("checkout", "-q", "--detach", cwd=made.path)
    assert (await worktrees.report("one")).detached
    assert (await worktrees.report("one")).clean
    git.commit("floating", cwd=made.path)
    report = await worktrees.report("one")
    assert report.detached
    assert report.unreachable == 1


async def test_commits_of_the_branch_count_when_another_is_checked_out(
    git: Git, worktrees: Worktrees, made: Worktree
) -> None:
    git.commit("on the branch", cwd=made.path)
    git.run("checkout", "-q", "-b", "other", "main", cwd=made.path)
    assert (await worktrees.report("one")).unreachable == 1


async def test_commits_count_when_the_tree_is_gone(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.commit("work", cwd=made.path)
    git.run("worktree", "remove", "-f", "-f", str(made.path))
    report = await worktrees.report("one")
    assert (report.unreachable, report.unknown) == (1, None)


@pytest.mark.parametrize("operation", ["rebase", "merge", "cherry-pick", "revert", "bisect", "am"])
async def test_an_operation_in_progress_is_named(
    git: Git, worktrees: Worktrees, made: Worktree, operation: str, tmp_path: Path
) -> None:
    (made.path / "README.md").write_text("mine\n")
    mine = git.commit("mine", cwd=made.path)
    git.write("README.md", "theirs\n")
    theirs = git.commit("theirs")
    commands = {
        "rebase": ["rebase", theirs],
        "merge": ["merge", theirs],
        "cherry-pick": ["cherry-pick", theirs],
        "revert": ["revert", "--no-edit", f"{mine}~1"],
        "bisect": ["bisect", "start"],
        "am": ["am", str(tmp_path / "patch")],
    }
    (tmp_path / "patch").write_text(git.run("format-patch", "-1", "--stdout", theirs))
    if operation == "revert":
        (made.path / "README.md").write_text("again\n")
        git.commit("again", cwd=made.path)
        commands["revert"] = ["revert", "--no-edit", mine]
    git.run(*commands[operation], cwd=made.path, check=False)
    report = await worktrees.report("one")
    assert report.operation == operation
    assert f"a {operation} is in progress" in report.lines()
    if operation == "merge":
        assert "README.md" in report.modified, "a conflict is a modification"


async def test_stashes_made_on_the_branch_are_listed(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.write("README.md", "on main\n")
    git.run("stash")
    (made.path / "README.md").write_text("one\n")
    git.run("stash", "push", "-m", "with a name", cwd=made.path)
    (made.path / "README.md").write_text("two\n")
    git.run("stash", cwd=made.path)
    report = await worktrees.report("one")
    assert len(report.stashes) == 2
    assert report.stashes[1] == "with a name"
    assert not report.clean


async def test_a_nested_repository_is_work(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    git.run("init", "-q", str(made.path / "vendor" / "lib"))
    git.run("init", "-q", str(made.path / "src"))
    assert (await worktrees.report("one")).untracked == ("src/", "vendor/lib/")


async def test_a_submodule_that_git_filled_is_looked_into(git: Git, tmp_path: Path) -> None:
    git.run("clone", "-q", str(git.root), str(tmp_path / "library"))
    git.run("submodule", "add", "-q", str(tmp_path / "library"), "lib")
    git.commit("submodule")
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    git.run("submodule", "update", "-q", "--init", cwd=made.path)
    assert (await worktrees.report("one")).clean
    (made.path / "lib/new").write_text("new\n")
    report = await worktrees.report("one")
    assert report.submodules == ("lib: untracked: new",)
    assert not report.clean


@pytest.mark.parametrize("damage", ["index", "head", "head-pipe", "index-pipe", "object", "entry"])
async def test_what_cannot_be_read_is_not_clean(git: Git, worktrees: Worktrees, made: Worktree, damage: str) -> None:
    if damage == "index":
        (made.admin_dir / "index").write_bytes(b"DIRCxxxx")
    elif damage == "head":
        (made.admin_dir / "HEAD").write_text("rubbish")
    elif damage == "entry":
        made.admin_dir.rename(git.root / ".git" / "away")
    elif damage == "object":
        sha = git.run("rev-parse", "HEAD").strip()
        (git.root / ".git" / "objects" / sha[:2] / sha[2:]).unlink()
        (made.admin_dir / "index").unlink()
    else:
        file = made.admin_dir / ("HEAD" if damage == "head-pipe" else "index")
        file.unlink()
        os.mkfifo(file)
    report = await worktrees.report("one")
    assert not report.clean
    assert report.unknown


async def test_a_tree_that_was_moved_is_not_clean(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    git.run("worktree", "move", "-f", "-f", str(made.path), str(tmp_path / "moved"))
    report = await worktrees.report("one")
    assert report.unknown is not None
    assert str(tmp_path / "moved") in report.unknown


async def test_long_lists_are_cut_with_a_count(worktrees: Worktrees, made: Worktree) -> None:
    for number in range(50):
        (made.path / f"f{number:02}").write_text("x")
    report = await worktrees.report("one")
    assert len(report.untracked) == 50
    assert report.lines()[-1] == "and 30 more untracked"
    assert len(report.lines()) == 21


async def test_a_filtered_file_that_was_rewritten_is_not_known(git: Git) -> None:
    git.run("config", "filter.big.smudge", "sed s/pointer/content/")
    git.run("config", "filter.big.clean", "sed s/content/pointer/")
    git.write(".gitattributes", "*.bin filter=big\n")
    git.write("a.bin", "content\n")
    git.commit("filtered")
    git.settle()
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    assert (await worktrees.report("one")).clean
    (made.path / "a.bin").write_text("content\n")
    report = await worktrees.report("one")
    assert report.unknown is not None
    assert "'big'" in report.unknown
    assert report.modified == ("a.bin",)


async def test_a_report_writes_nothing(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    (made.path / "README.md").touch()

    def state() -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in git.root.rglob("*")}

    before = state()
    await worktrees.report("one")
    assert state() == before
