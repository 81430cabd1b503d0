"""What a workspace's git says and does from outside, judged by the git program inside."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nexus.errors import (
    BranchInUse,
    Busy,
    GitError,
    InvalidArgument,
    NotFound,
    PathIsADirectory,
    PathNotFound,
    RefNotFound,
    StateConflict,
    Unsupported,
    WorkspaceGone,
)
from nexus.git import GitIdentity, Worktree, Worktrees, find_repository
from nexus.git.advancing import OURS
from nexus.git.workspace_git import WorkspaceGit
from nexus.models.git import GitAuthor, GitChangeKind, GitCommit, GitDiff, GitStatus
from tests.git.oracle import REASON, Git

USER = GitIdentity(name="A Person", email="person@example.org")


@pytest.fixture
async def tree(git: Git, worktrees: Worktrees) -> Worktree:
    return await worktrees.create("one", reason=REASON)


@pytest.fixture
async def ours(git: Git, tree: Worktree) -> WorkspaceGit:
    return WorkspaceGit(await find_repository(git.root), "one")


async def diff(ours: WorkspaceGit, old: str | None = None, new: str | None = None, **options: object) -> GitDiff:
    wanted: dict[str, object] = {"staged": False, "paths": (), "context": 3, **options}
    return await ours.diff(old, new, **wanted)  # type: ignore[arg-type]


async def commit(ours: WorkspaceGit, message: str = "work", **options: object) -> GitCommit:
    wanted: dict[str, object] = {"user": USER, "paths": None, "author": None, **options}
    return await ours.commit(message, **wanted)  # type: ignore[arg-type]


def messed(git: Git, tree: Path) -> None:
    """All kinds of changes, staged and not."""
    (tree / "README.md").write_text("hello\nthere\n")
    (tree / "src" / "app.py").unlink()
    (tree / "new.txt").write_text("new\n")
    (tree / "staged é.txt").write_text("no end")
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("README.md")
    (tree / "data.bin").write_bytes(b"\0\1\2")
    git.run("add", "staged é.txt", "run.sh", "link", "data.bin", cwd=tree)
    (tree / "run.sh").write_text("#!/bin/sh\necho\n")


def as_porcelain(status: GitStatus) -> set[str]:
    letters = {"added": "A", "modified": "M", "deleted": "D", "type-changed": "T"}
    lines: dict[str, list[str]] = {}
    for column, changes in enumerate((status.staged, status.changed)):
        for change in changes:
            lines.setdefault(change.path, [" ", " "])[column] = letters[change.kind]
    return {f"{''.join(marks)} {path}" for path, marks in lines.items()} | {f"?? {path}" for path in status.untracked}


async def test_status_is_what_git_says(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    clean = await ours.status()
    assert clean.clean
    assert (clean.branch, clean.head) == ("nexus/one", git.head())
    messed(git, tree.path)
    (tree.path / "was").write_text("file")
    git.run("add", "was", cwd=tree.path)
    git.run("commit", "-qm", "all staged", cwd=tree.path)
    (tree.path / "was").unlink()
    (tree.path / "was").symlink_to("README.md")
    git.run("rm", "-q", "--cached", "run.sh", cwd=tree.path)
    status = await ours.status()
    wanted = git.run("-c", "core.quotepath=off", "status", "--porcelain", "--untracked-files=all", "-z", cwd=tree.path)
    assert as_porcelain(status) == set(wanted.split("\0")) - {""}
    assert not status.clean
    assert status.head == git.head(tree.path)


async def test_ahead_and_behind_are_counted(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    git.run("remote", "add", "origin", str(git.root))
    git.run("fetch", "-q", "origin")
    git.run("branch", "-q", "--set-upstream-to=origin/main", "nexus/one")
    (tree.path / "a").write_text("a")
    git.commit(cwd=tree.path)
    git.commit("on main")
    git.run("fetch", "-q", "origin")
    status = await ours.status()
    assert (status.upstream, status.ahead, status.behind) == ("origin/main", 1, 1)
    (own,) = [branch for branch in await ours.branches(remote=False) if branch.current]
    assert (own.name, own.workspace, own.upstream, own.commit) == (
        "nexus/one",
        "one",
        "origin/main",
        git.head(tree.path),
    )
    names = git.run("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes").split()
    assert [branch.name for branch in await ours.branches(remote=True)] == names


async def test_diffs_are_what_git_says(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    git.write("with space", "".join(f"{n}\n" for n in range(60)))
    base = git.commit("more")
    git.run("reset", "-q", "--hard", base, cwd=tree.path)
    messed(git, tree.path)
    (tree.path / "with space").write_text("".join(f"{n if n not in {5, 9, 40} else 'x'}\n" for n in range(60)))
    plain = ("-c", "core.abbrev=7", "-c", "diff.noprefix=false", "diff", "--no-renames", "--no-color", "--no-ext-diff")

    def wanted(*args: str) -> str:
        # Git adds the enclosing line of code to a hunk's head, which is no part of the difference.
        text = git.run(*plain, *args, cwd=tree.path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return "".join(
            line.partition(" @@ ")[0] + " @@\n" if line.startswith("@@ ") and " @@ " in line else line
            for line in text.splitlines(keepends=True)
        )

    assert (await diff(ours)).patch == wanted()
    assert (await diff(ours, staged=True)).patch == wanted("--cached")
    assert (await diff(ours, "HEAD~1")).patch == wanted("HEAD~1")
    assert (await diff(ours, "HEAD~1", staged=True)).patch == wanted("--cached", "HEAD~1")
    assert (await diff(ours, "HEAD~1", "main")).patch == wanted("HEAD~1", "main")
    assert (await diff(ours, paths=["src", "./README.md"])).patch == wanted("--", "src", "README.md")
    assert (await diff(ours, context=0, paths=["with space"])).patch == wanted("-U0", "--", "with space")
    (readme,) = (await diff(ours, paths=["README.md"])).files
    assert (readme.kind, readme.added, readme.removed, readme.binary) == (GitChangeKind.MODIFIED, 1, 0, False)
    (data,) = (await diff(ours, staged=True, paths=["data.bin"])).files
    assert data.binary


async def test_a_changed_kind_is_a_removal_and_an_addition(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    (tree.path / "README.md").unlink()
    (tree.path / "README.md").symlink_to("src/app.py")
    (found,) = (await diff(ours)).files
    assert found.kind is GitChangeKind.TYPE_CHANGED
    assert found.patch == git.run("-c", "core.abbrev=7", "diff", cwd=tree.path)


async def test_what_is_too_large_is_told_without_its_lines(
    git: Git, tree: Worktree, ours: WorkspaceGit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexus.git.diffing.MAX_FILE", 10)
    monkeypatch.setattr("nexus.git.diffing.MAX_PATCHES", 100)
    (tree.path / "README.md").write_text("x" * 11)
    found = await diff(ours)
    assert found.truncated
    assert [(file.path, file.patch) for file in found.files] == [("README.md", "")]


@pytest.mark.parametrize(
    "question",
    [{"new": "main"}, {"old": "main", "new": "main", "staged": True}, {"context": -1}, {"paths": "README.md"}],
)
async def test_questions_that_make_no_sense(ours: WorkspaceGit, question: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        await diff(ours, **question)  # type: ignore[arg-type]
    for path in ("/etc/passwd", "../x", ""):
        with pytest.raises(InvalidArgument):
            await diff(ours, paths=[path])
    with pytest.raises(RefNotFound):
        await diff(ours, "no-such")


async def test_everything_is_committed_as_git_would(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    git.write(".gitignore", "*.log\n")
    git.write(".gitattributes", "*.txt text eol=lf\n")
    base = git.commit("settings")
    git.run("reset", "-q", "--hard", base, cwd=tree.path)
    messed(git, tree.path)
    (tree.path / "x.log").write_text("ignored")
    (tree.path / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    done = await commit(ours, "All of it\n\nwith a body\n\n")
    assert git.status(tree.path) == "", "nothing is left, and the index agrees"
    assert git.head(tree.path) == done.id
    assert git.run("fsck", "--strict", "--no-dangling") == ""
    assert git.run("log", "-1", "--format=%B|%an <%ae>|%cn|%P", cwd=tree.path).strip() == (
        f"All of it\n\nwith a body\n|A Person <person@example.org>|A Person|{base}"
    )
    assert git.run("show", "HEAD:dos.txt", cwd=tree.path) == "one\ntwo\n"
    listed = git.run("-c", "core.quotepath=off", "ls-tree", "-r", "HEAD", cwd=tree.path).splitlines()
    modes = {line.split("\t")[1]: line.split()[0] for line in listed}
    assert modes["run.sh"] == "100755"
    assert modes["link"] == "120000"
    assert "src/app.py" not in modes
    assert "x.log" not in modes
    assert "commit: All of it" in git.run("reflog", "-1", cwd=tree.path)
    # And git itself would have made the same tree.
    git.run("reset", "-q", "--soft", base, cwd=tree.path)
    git.run("add", "-A", cwd=tree.path)
    assert git.run("write-tree", cwd=tree.path).strip() == git.run("rev-parse", f"{done.id}^{{tree}}").strip()


async def test_only_what_was_picked_is_committed(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    messed(git, tree.path)
    git.run("reset", "-q", cwd=tree.path)
    author = GitAuthor(name="Some <One>", email="one@example.org")
    done = await commit(ours, paths=["src", "new.txt"], author=author)
    assert git.run("show", "--format=%an|%cn", "--name-status", "HEAD", cwd=tree.path).split() == [
        "Some",
        "One|A",
        "Person",
        "A",
        "new.txt",
        "D",
        "src/app.py",
    ]
    assert done.author.email == "one@example.org"
    assert " M README.md" in git.status(tree.path)
    for paths in (["nowhere"], ["src"], []):
        with pytest.raises(InvalidArgument):
            await commit(ours, paths=paths)


async def test_a_file_takes_the_place_of_a_folder_and_the_reverse(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    (tree.path / "src" / "app.py").unlink()
    (tree.path / "src").rmdir()
    (tree.path / "src").write_text("a file now")
    (tree.path / "README.md").unlink()
    (tree.path / "README.md").mkdir()
    (tree.path / "README.md" / "inner").write_text("x")
    await commit(ours)
    assert git.status(tree.path) == ""
    assert git.run("fsck", "--strict", "--no-dangling") == ""


async def test_what_is_refused(git: Git, tree: Worktree, ours: WorkspaceGit, worktrees: Worktrees) -> None:
    with pytest.raises(StateConflict, match="nothing to commit"):
        await commit(ours)
    (tree.path / "README.md").write_text("mine\n")
    for message in ("", "  \n", "a\0b"):
        with pytest.raises(InvalidArgument):
            await commit(ours, message)
    with pytest.raises(InvalidArgument, match="nobody has said"):
        await commit(ours, user=GitIdentity(name="x"))
    (tree.admin_dir / "index.lock").write_text("somebody's")
    with pytest.raises(Busy):
        await commit(ours)
    (tree.admin_dir / "index.lock").write_bytes(OURS)  # left by a process of ours that was killed
    await commit(ours)
    git.write("README.md", "theirs\n")
    git.commit("theirs")
    git.run("merge", "main", cwd=tree.path, check=False)
    status = await ours.status()
    assert (status.conflicted, status.operation) == (("README.md",), "merge")
    assert not status.changed
    assert "* Unmerged path README.md" in (await diff(ours)).patch
    with pytest.raises(StateConflict, match=r"conflicts: README\.md"):
        await commit(ours)
    git.run("add", "-A", cwd=tree.path)
    with pytest.raises(StateConflict, match="a merge is in progress"):
        await commit(ours)
    git.run("merge", "--abort", cwd=tree.path)
    git.run("switch", "-q", "--detach", cwd=tree.path)
    (tree.path / "x").write_text("x")
    with pytest.raises(StateConflict, match="on no branch"):
        await commit(ours)


async def test_one_that_is_killed_in_between_leaves_everything_staged(
    git: Git, tree: Worktree, ours: WorkspaceGit, tmp_path: Path
) -> None:
    messed(git, tree.path)
    before = git.head(tree.path)
    program = tmp_path / "killed.py"
    program.write_text(
        "import anyio, os, pathlib, signal, sys\n"
        "from nexus.git import GitIdentity, find_repository\n"
        "from nexus.git.advancing import IndexLock\n"
        "from nexus.git.workspace_git import WorkspaceGit\n"
        "put = IndexLock.commit\n"
        "def killed(self, entries):\n"
        "    put(self, entries)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "IndexLock.commit = killed\n"
        "async def main():\n"
        "    ours = WorkspaceGit(await find_repository(pathlib.Path(sys.argv[1])), 'one')\n"
        "    await ours.commit('x', user=GitIdentity(name='n', email='e'), paths=None, author=None)\n"
        "anyio.run(main)\n"
    )
    done = subprocess.run([sys.executable, str(program), str(git.root)], env=git.env, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert git.head(tree.path) == before
    status = await ours.status()
    assert not status.changed
    assert not status.untracked
    await commit(ours, "again")
    assert git.status(tree.path) == ""
    assert git.run("rev-parse", "HEAD~1", cwd=tree.path).strip() == before


async def test_a_head_that_was_rewritten_does_not_move_another_trees_branch(
    git: Git, tree: Worktree, ours: WorkspaceGit
) -> None:
    before = git.head()
    (tree.admin_dir / "HEAD").write_text("ref: refs/heads/main\n")
    (tree.path / "x").write_text("x")
    with pytest.raises(BranchInUse):
        await commit(ours)
    assert git.head() == before


async def test_no_program_of_the_repository_runs(git: Git, tree: Worktree, ours: WorkspaceGit, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for hook in ("pre-commit", "commit-msg", "post-commit", "prepare-commit-msg", "reference-transaction"):
        path = git.write(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {ran}\n", mode=0o755)
        assert path.exists()
    for key in (
        "core.fsmonitor",
        "diff.external",
        "core.pager",
        "gpg.program",
        "filter.evil.clean",
        "filter.evil.smudge",
    ):
        git.run("config", key, f"touch {ran}")
    git.run("config", "commit.gpgsign", "true")
    git.run("config", "diff.evil.textconv", f"touch {ran}; cat")
    ran.unlink(missing_ok=True)
    (tree.path / ".gitattributes").write_text("*.md diff=evil\n")
    (tree.path / "README.md").write_text("changed\n")
    await diff(ours)
    await ours.status()
    await commit(ours)
    await ours.log("HEAD", limit=5, path="README.md", after=None)
    (tree.path / ".gitattributes").write_text("*.bin filter=evil\n")
    (tree.path / "x.bin").write_text("x")
    with pytest.raises(GitError, match=r"x\.bin"):
        await commit(ours)
    assert not ran.exists()


async def test_history_is_what_git_says(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    for number in range(5):
        (tree.path / ("a" if number % 2 else "b")).write_text(str(number))
        git.run("add", "-A", cwd=tree.path)
        when = f"2024-01-0{number + 1}T12:00:00+02:00"
        git.env.update(GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when)
        git.run("commit", "-qm", f"number {number}\n\nbody", cwd=tree.path)

    async def ids(**options: object) -> list[str]:
        wanted: dict[str, object] = {"limit": 50, "path": None, "after": None, **options}
        return [one.id for one in await ours.log("HEAD", **wanted)]  # type: ignore[arg-type]

    every = git.run("log", "--format=%H", cwd=tree.path).split()
    assert await ids() == every
    assert await ids(path="a") == git.run("log", "--format=%H", "--", "a", cwd=tree.path).split()
    assert await ids(limit=2, after=every[1]) == every[2:4]
    newest = (await ours.log("HEAD~0", limit=1, path=None, after=None))[0]
    assert (newest.subject, newest.author.name) == ("number 4", "A Person")
    assert newest.author.at.isoformat() == "2024-01-05T12:00:00+02:00"
    assert newest.parents == (every[1],)
    with pytest.raises(NotFound):
        await ids(after="0" * 40)
    with pytest.raises(InvalidArgument):
        await ids(limit=0)


async def test_a_file_is_shown_as_it_was(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    (tree.path / "README.md").write_text("changed\n")
    assert await ours.show("README.md", ref="HEAD") == b"hello\n"
    assert await ours.show("./src/app.py", ref="main") == b"print('hi')\n"
    for path, error in (
        ("src", PathIsADirectory),
        (".", PathIsADirectory),
        ("no", PathNotFound),
        ("README.md/x", PathNotFound),
    ):
        with pytest.raises(error):
            await ours.show(path, ref="HEAD")
    with pytest.raises(InvalidArgument):
        await ours.show("../x", ref="HEAD")


async def test_a_private_clone_is_looked_into_and_not_written(git: Git, worktrees: Worktrees) -> None:
    clone = await worktrees.create("two", reason=REASON, isolation="clone")
    ours = WorkspaceGit(await find_repository(git.root), "two")
    (clone.path / "a").write_text("a\n")
    tip = git.commit("inside", cwd=clone.path)
    (clone.path / "README.md").write_text("changed\n")
    (clone.path / ".git" / "hooks").mkdir(exist_ok=True)
    status = await ours.status()
    assert (status.branch, status.head) == ("nexus/two", tip)
    assert [change.path for change in status.changed] == ["README.md"]
    assert "+changed" in (await diff(ours)).patch
    assert (await ours.log("HEAD", limit=1, path=None, after=None))[0].id == tip
    assert await ours.show("a", ref="HEAD") == b"a\n"
    with pytest.raises(Unsupported):
        await commit(ours)


async def test_a_tree_that_is_gone(git: Git, tree: Worktree, ours: WorkspaceGit) -> None:
    Path(tree.path).rename(git.root.parent / "elsewhere")
    with pytest.raises(WorkspaceGone):
        await ours.status()
