"""Ignored files that come along into a new worktree."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import anyio
import pytest

from nexus.errors import GitError
from nexus.git import Worktree, Worktrees
from nexus.git.include_copying import stays_inside
from tests.git.oracle import REASON, Git


async def make(git: Git, name: str = "a", **options: object) -> Worktree:
    worktrees = await git.worktrees()
    return await worktrees.create(name, reason=REASON, **options)  # type: ignore[arg-type]


def ignoring(git: Git, *patterns: str) -> None:
    git.write(".gitignore", "".join(f"{pattern}\n" for pattern in patterns))
    git.commit("ignore")


def listing(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if ".git" not in path.relative_to(root).parts and not path.is_dir()
    }


async def stays_clean(git: Git, tree: Worktree) -> None:
    assert git.status(tree.path) == ""
    assert (await (await git.worktrees()).report(tree.name)).clean


async def test_nothing_comes_along_without_being_named(git: Git) -> None:
    ignoring(git, ".env")
    git.write(".env", "SECRET=1\n")
    tree = await make(git)
    assert not (tree.path / ".env").exists()
    assert tree.notes == ()


async def test_a_named_ignored_file_comes_along_with_mode_and_time(git: Git) -> None:
    ignoring(git, ".env")
    file = git.write(".env", "SECRET=1\n", mode=0o640)
    os.utime(file, ns=(1_500_000_000_123_456_789, 1_500_000_000_123_456_789))
    git.write(".worktreeinclude", ".env\n")
    git.commit("include")
    tree = await make(git)
    copy = tree.path / ".env"
    assert copy.read_text() == "SECRET=1\n"
    assert (copy.stat().st_mode & 0o7777, copy.stat().st_mtime_ns) == (0o640, 1_500_000_000_123_456_789)
    assert copy.stat().st_ino != file.stat().st_ino
    assert tree.notes == ("came along: 1 ignored file, 9B",)
    await stays_clean(git, tree)


async def test_a_tree_of_packages_comes_along_whole(git: Git) -> None:
    ignoring(git, "node_modules/")
    git.write(".worktreeinclude", "node_modules/\n")
    for package in range(100):
        for number in range(20):
            git.write(f"node_modules/p{package}/lib/f{number}.js", f"// {package} {number}\n" * (number * 600))
    (git.root / "node_modules/.bin").mkdir()
    (git.root / "node_modules/.bin/tool").symlink_to("../p1/lib/f2.js")
    Path(git.root / "node_modules/p7").chmod(0o750)
    os.utime(git.root / "node_modules/p7", (1_500_000_000, 1_500_000_000))
    git.commit("include")
    seen: list[tuple[str, int | None, int | None]] = []
    tree = await make(git, progress=lambda _step, message, done=None, total=None: seen.append((message, done, total)))
    assert listing(tree.path / "node_modules") == listing(git.root / "node_modules")
    assert len(listing(tree.path / "node_modules")) == 2001
    for path in ("p0/lib/f0.js", "p99/lib/f19.js", "p50/lib/f10.js"):
        assert (tree.path / "node_modules" / path).read_bytes() == (git.root / "node_modules" / path).read_bytes()
    assert str((tree.path / "node_modules/.bin/tool").readlink()) == "../p1/lib/f2.js"
    folder = (tree.path / "node_modules/p7").stat()
    assert (folder.st_mode & 0o777, int(folder.st_mtime)) == (0o750, 1_500_000_000)
    assert ("2000 of 2000 ignored files", 2000, 2000) in seen
    await stays_clean(git, tree)


async def test_only_ignored_files_come_along(git: Git) -> None:
    ignoring(git, "*.log")
    git.write(".worktreeinclude", "*\n")
    git.commit("include")
    git.write("mine.txt", "not committed\n")
    git.write("a.log", "1\n")
    git.write("README.md", "changed, not committed\n")
    tree = await make(git)
    assert (tree.path / "a.log").exists()
    assert not (tree.path / "mine.txt").exists()
    assert (tree.path / "README.md").read_text() == "hello\n"
    await stays_clean(git, tree)


async def test_later_patterns_decide_and_exceptions_reach_into_folders(git: Git) -> None:
    ignoring(git, "/cache/", "*.key")
    git.write(".worktreeinclude", "# what builds need\ncache/\n!cache/tmp/\ncache/tmp/keep.txt\n*.key\n!private.key\n")
    git.commit("include")
    for path in ("cache/a", "cache/deep/b", "cache/tmp/c", "cache/tmp/keep.txt", "x.key", "src/y.key", "private.key"):
        git.write(path, path)
    tree = await make(git)
    assert {"cache/a", "cache/deep/b", "cache/tmp/keep.txt", "x.key", "src/y.key"} <= listing(tree.path)
    assert not (tree.path / "cache/tmp/c").exists()
    assert not (tree.path / "private.key").exists()
    await stays_clean(git, tree)


async def test_nested_ignore_files_are_obeyed_and_come_along(git: Git) -> None:
    # What `python -m venv` and many tools do: a folder that ignores itself from within.
    git.write(".venv/.gitignore", "*\n")
    git.write(".venv/lib/site.py", "pass\n")
    git.write("src/.gitignore", "local.ini\n!kept.ini\n*.ini\n")
    git.write("src/local.ini", "1")
    git.write("elsewhere/local.ini", "not ignored")
    git.write(".worktreeinclude", "local.ini\n.venv\n")
    git.run("add", "src/.gitignore", ".worktreeinclude")
    git.run("commit", "-qm", "include")
    tree = await make(git)
    assert (tree.path / ".venv/lib/site.py").exists()
    assert (tree.path / ".venv/.gitignore").exists()
    assert (tree.path / "src/local.ini").exists()
    assert not (tree.path / "elsewhere").exists()
    await stays_clean(git, tree)


async def test_what_the_new_tree_would_not_ignore_stays_behind(git: Git) -> None:
    old = git.head()
    ignoring(git, ".env", "sub/")
    git.write(".worktreeinclude", ".env\nsub/\n")
    git.write("sub/.gitignore", "inner\n")
    git.write("sub/inner", "x")
    git.write(".env", "SECRET=1\n")
    tree = await make(git, start=old)
    assert not (tree.path / ".env").exists()
    assert any("the new tree does not ignore it" in note and ".env" in note for note in tree.notes)
    await stays_clean(git, tree)


async def test_files_of_the_commit_win(git: Git) -> None:
    git.write("data", "of the commit\n")
    held = git.commit("data is a file")
    git.run("rm", "-q", "--cached", "data")
    (git.root / "data").unlink()
    ignoring(git, "data/", "README.local")
    git.write("data/x", "ignored")
    tree = await make(git, start=held, include=["data/"])
    assert (tree.path / "data").read_text() == "of the commit\n"
    assert any("data/x (a file of the commit is in the way)" in note for note in tree.notes)


async def test_links_that_lead_out_stay_behind(git: Git, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    ignoring(git, "cache/", "linked")
    git.write("cache/deep/file", "x")
    (git.root / "linked").symlink_to(secret)
    links = {
        "absolute": "/etc/passwd",
        "up": "../../secret/key",
        "inside-absolute": str(git.root / "README.md"),
        "git": "../.git/config",
        "nexus": "../.nexus/state",
        "undone": "deep/../../../secret",
        "ok": "deep/file",
        "ok-up": "../README.md",
        "dangling": "deep/none",
    }
    for name, target in links.items():
        (git.root / "cache" / name).symlink_to(target)
    (git.root / "cache" / "hop").symlink_to("../linked")
    tree = await make(git, include=["cache/", "linked", "linked/key"])
    assert {name for name in [*links, "hop"] if os.path.lexists(tree.path / "cache" / name)} == {
        "ok",
        "ok-up",
        "dangling",
    }
    assert not os.path.lexists(tree.path / "linked")
    assert any("leads out of the tree" in note for note in tree.notes)
    await stays_clean(git, tree)


async def test_git_and_nexus_and_other_repositories_stay_behind(git: Git) -> None:
    ignoring(git, "vendor/", "plain/", ".nexus/")
    git.write("vendor/.git/config", "[core]\n\tfsmonitor = touch /tmp/never\n")
    git.write("vendor/code.c", "int x;")
    git.write("plain/.GIT/config", "x")
    git.write("plain/ok", "x")
    git.write(".nexus/state/forged", "x")
    tree = await make(git, include=["*", "**/.git/", ".git/**", ".nexus/", ".nexus/**"])
    assert listing(tree.path) >= {"plain/ok"}
    assert not (tree.path / "vendor").exists()
    assert not (tree.path / ".nexus").exists()
    assert not (tree.path / "plain/.GIT").exists()
    assert (tree.path / ".git").is_file()
    assert any("vendor/ (a repository of its own)" in note for note in tree.notes)


@pytest.mark.parametrize("pattern", ["../secret/*", "/../secret", "/etc/passwd", "..", "**/../secret/**", "[", "\\"])
async def test_patterns_cannot_reach_out_of_the_repository(git: Git, tmp_path: Path, pattern: str) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    ignoring(git, "*.env")
    git.write(".worktreeinclude", f"{pattern}\n*.env\n")
    git.commit("include")
    git.write("a.env", "1")
    tree = await make(git)
    assert listing(tree.path) == {"README.md", "src/app.py", ".gitignore", ".worktreeinclude", "a.env"}


async def test_an_include_file_that_is_a_link_or_a_pipe_is_not_read(git: Git, tmp_path: Path) -> None:
    ignoring(git, ".env")
    git.write(".env", "1")
    (tmp_path / "outside").write_text(".env\n")
    (git.root / ".worktreeinclude").symlink_to(tmp_path / "outside")
    first = await make(git, "link")
    (git.root / ".worktreeinclude").unlink()
    os.mkfifo(git.root / ".worktreeinclude")
    second = await make(git, "pipe")
    for tree in (first, second):
        assert not (tree.path / ".env").exists()
        assert any("was not read" in note for note in tree.notes)


async def test_too_much_is_refused_before_anything_is_copied(git: Git) -> None:
    ignoring(git, "cache/", ".env")
    git.write("cache/big", b"x" * 5000)
    git.write(".env", "1")
    worktrees = await git.worktrees()
    with pytest.raises(GitError, match=r"cache 4\.883KiB") as refused:
        await make(git, include=["cache/", ".env"], include_max=4096)
    assert "defaults.worktree_include_max" in (refused.value.hint or "")
    assert refused.value.details["bytes"] == 5001
    assert await worktrees.get("a") is None
    assert git.run("branch", "--list", "nexus/a") == ""
    tree = await make(git, include=["cache/", ".env"], include_max=5001)
    assert (tree.path / "cache/big").stat().st_size == 5000


async def test_odd_files_are_left_out_with_words(git: Git) -> None:
    ignoring(git, "cache/")
    git.write("cache/setuid", "x", mode=0o4755)
    os.mkfifo(git.root / "cache/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(git.root / "cache", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/s")
        os.close(folder)
    (git.root / "cache" / os.fsdecode(b"\xff\xfe")).write_text("name")
    tree = await make(git, include=["cache/"])
    assert sorted(os.fsencode(path.name) for path in (tree.path / "cache").iterdir()) == [b"setuid", b"\xff\xfe"]
    assert (tree.path / "cache/setuid").stat().st_mode & 0o7777 == 0o755
    assert any("neither a file, a folder nor a link" in note for note in tree.notes)


async def test_a_cancelled_creation_leaves_nothing(git: Git) -> None:
    ignoring(git, "cache/")
    for number in range(300):
        git.write(f"cache/{number}", "x" * 100)
    worktrees = await git.worktrees()
    with anyio.CancelScope() as scope:

        def cancel(_step: str, message: str, _done: int | None = None, _total: int | None = None, /) -> None:
            if "ignored" in message:
                scope.cancel()

        await worktrees.create("a", reason=REASON, include=["cache/"], progress=cancel)
    assert scope.cancelled_caught
    assert await worktrees.get("a") is None
    assert not worktrees.path("a").exists()
    assert git.run("branch", "--list", "nexus/a") == ""


@pytest.mark.parametrize(
    ("path", "target", "inside"),
    [
        (b"a", b"b", True),
        (b"a", b"..", False),
        (b"a/b", b"..", True),
        (b"a/b", b"../..", False),
        (b"a/b/c", b"../../x", True),
        (b"a/b/c", b"x/../y", False),
        (b"a/b", b"../.git", False),
        (b"a/b", b"../.GIT/hooks", False),
        (b"a/b", b"./../.nexus", False),
        (b"a/b", b"//etc", False),
        (b"a/b", b"", False),
    ],
)
def test_where_a_link_may_lead(path: bytes, target: bytes, inside: bool) -> None:
    assert stays_inside(path, target) is inside


async def test_a_path_from_the_root_names_that_place_alone(git: Git, worktrees: Worktrees) -> None:
    ignoring(git, "secret/", "cache/")
    git.write("secret/x", "1")
    git.write("cache/deep/x", "1")
    git.write("secret/cache/deep/x", "1")
    tree = await worktrees.create("a", reason=REASON, include=["/cache/deep/x"])
    assert listing(tree.path) >= {"cache/deep/x"}
    assert tree.notes == ("came along: 1 ignored file, 1B",)
