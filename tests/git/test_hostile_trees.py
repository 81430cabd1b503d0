"""Commits that were made to write where they must not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import GitError
from nexus.git import Worktrees
from nexus.git.index_file import FILE, LINK
from nexus.git.trees import TreeFile, build, flatten, folders_of, is_hostile_name
from tests.git.oracle import REASON, Git

NAMES = [
    b".git",
    b".GIT",
    b".Git",
    b".git ",
    b".git.",
    b"git~1",
    b"GIT~1",
    b"..",
    b".",
    b".git::$INDEX_ALLOCATION",
    ".g\u200cit".encode(),
    b".git\\x",
]


def tree_object(git: Git, entries: list[tuple[str, bytes, str]]) -> str:
    """Write a tree object as it is given, however wrong, and return its id."""
    content = b"".join(b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(sha)) for mode, name, sha in entries)
    return git.run("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=content).strip()


def commit_of(git: Git, tree: str) -> str:
    text = f"tree {tree}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nbad\n".encode()
    return git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=text).strip()


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not any(part in str(path) for part in (".git/", ".nexus"))}


async def assert_refused(git: Git, worktrees: Worktrees, tree: str, tmp_path: Path) -> None:
    before = everything(tmp_path)
    with pytest.raises(GitError, match=r"checked out safely|one name|deeper") as caught:
        await worktrees.create("one", start=commit_of(git, tree), reason=REASON)
    assert caught.value.hint
    assert not worktrees.path("one").exists()
    assert git.run("for-each-ref", "refs/heads/nexus") == ""
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", [False, True])
async def test_names_that_reach_into_git_are_refused(
    git: Git, worktrees: Worktrees, tmp_path: Path, name: bytes, folder: bool
) -> None:
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"bad").strip()
    tree = tree_object(git, [("100644", b"config", blob)])
    entry = ("40000", name, tree) if folder else ("100644", name, blob)
    await assert_refused(git, worktrees, tree_object(git, [entry]), tmp_path)


@pytest.mark.parametrize("name", [b"a/b", b"../../escaped", b"/etc/escaped", b""])
async def test_a_name_with_a_slash_in_it_is_refused(
    git: Git, worktrees: Worktrees, tmp_path: Path, name: bytes
) -> None:
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"bad").strip()
    with pytest.raises(GitError):
        await worktrees.create("one", start=commit_of(git, tree_object(git, [("100644", name, blob)])), reason=REASON)
    assert not (git.root / ".nexus" / "escaped").exists()
    assert not os.access("/etc/escaped", os.F_OK)
    assert not worktrees.path("one").exists()


async def test_nothing_is_written_through_a_link(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"bad").strip()
    target = git.run("hash-object", "-w", "--stdin", stdin=str(outside).encode()).strip()
    inner = tree_object(git, [("100644", b"planted", blob)])
    await assert_refused(git, worktrees, tree_object(git, [("120000", b"a", target), ("40000", b"a", inner)]), tmp_path)
    await assert_refused(git, worktrees, tree_object(git, [("40000", b"a", inner), ("120000", b"a", target)]), tmp_path)
    assert list(outside.iterdir()) == []


async def test_a_gitmodules_link_is_refused(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    target = git.run("hash-object", "-w", "--stdin", stdin=b"/etc/passwd").strip()
    await assert_refused(git, worktrees, tree_object(git, [("120000", b".gitmodules", target)]), tmp_path)


async def test_a_tree_without_end_is_refused(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    tree = tree_object(git, [])
    for _ in range(1100):
        tree = tree_object(git, [("40000", b"d", tree)])
    await assert_refused(git, worktrees, tree, tmp_path)


async def test_an_index_that_was_tampered_with_is_no_way_in(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    """Where a note in the main index says that it is the commit's tree, and it is not, the commit counts."""
    from nexus.git.index_file import IndexEntry, format_index, read_index

    index = read_index(git.root / ".git" / "index")
    assert index.tree is not None
    bad = IndexEntry(b"../../escaped", FILE, index.entries[0].sha, 0, 0, 0, 0, 0, 0, 0)
    body = format_index([bad])[:-20]
    cache = b"\0" + b"1 0\n" + index.tree
    import hashlib

    body += b"TREE" + len(cache).to_bytes(4, "big") + cache
    (git.root / ".git" / "index").write_bytes(body + hashlib.sha1(body).digest())
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "src" / "app.py").read_text() == "print('hi')\n"
    assert not (git.root / ".nexus" / "escaped").exists()
    assert (await worktrees.report("one")).clean


@pytest.mark.parametrize(
    "name",
    [b"normal", b".gitignore", b".github", b"git", b"..a", b"a..", b"gitfile", b"\xff\xfe", b".gitattributes", b"aux"],
)
def test_ordinary_names_pass(name: bytes) -> None:
    assert not is_hostile_name(name)


NAME = st.binary(min_size=1, max_size=6).filter(lambda name: not is_hostile_name(name))
PATHS = st.lists(st.lists(NAME, min_size=1, max_size=4).map(b"/".join), max_size=20, unique=True)


@given(PATHS)
def test_folders_come_before_what_is_in_them(paths: list[bytes]) -> None:
    files = sorted(TreeFile(path, FILE, bytes(20)) for path in paths)
    clash = any(other.startswith(path + b"/") for path in paths for other in paths)
    if clash:
        with pytest.raises(GitError):
            folders_of(files)
        return
    folders = folders_of(files)
    made = {b""}
    for folder in folders:
        assert folder.rpartition(b"/")[0] in made
        made.add(folder)
    assert {path.rpartition(b"/")[0] for path in paths} <= made


@given(PATHS, st.sampled_from([FILE, LINK]))
def test_trees_are_read_back_as_they_were_built(paths: list[bytes], mode: int) -> None:
    from dulwich.object_store import MemoryObjectStore

    clash = any(other.startswith(path + b"/") for path in paths for other in paths)
    if clash:
        return
    store = MemoryObjectStore()
    root, trees = build({path: (mode, bytes([len(path)]) * 20) for path in paths})
    for tree in trees:
        store.add_object(tree)
    assert flatten(store, root) == sorted(TreeFile(path, mode, bytes([len(path)]) * 20) for path in paths)
