from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.git import Worktrees
from nexus.git.index_file import EXECUTABLE, FILE, LINK, SUBMODULE, IndexEntry, entry_for, read_index
from nexus.git.tree_hash import is_exactly, root_of
from nexus.git.trees import build
from tests.git.oracle import Git

NAME = st.text("ab.-0/", min_size=1, max_size=8).map(str.encode)
PATHS = st.lists(NAME, max_size=25, unique=True).map(
    lambda paths: [
        path
        for path in paths
        if all(path.split(b"/")) and not any(other.startswith(path + b"/") or other == path for other in paths if other is not path)
    ]
)  # fmt: skip
VALUE = st.tuples(st.sampled_from([FILE, EXECUTABLE, LINK, SUBMODULE]), st.binary(min_size=20, max_size=20))


@given(PATHS, st.data())
def test_the_tree_is_the_one_that_would_be_built_of_the_same_files(paths: list[bytes], data: st.DataObject) -> None:
    files = {path: data.draw(VALUE) for path in paths}
    entries = [entry_for(path, *files[path], None) for path in sorted(files)]
    assert root_of(entries) == build(files)[0]


def tree_of(git: Git) -> bytes:
    return bytes.fromhex(git.run("rev-parse", "HEAD^{tree}").strip())


def test_git_agrees(git: Git) -> None:
    for path in ("a/b/c", "a.b", "a0", "a-b/x", "a/b.c", "z/y/x/w/v", "z/y.x"):
        git.write(path, path)
    git.write("run.sh", "#!/bin/sh\n")
    (git.root / "run.sh").chmod(0o755)
    (git.root / "link").symlink_to("a.b")
    git.commit("all sorts")
    index = read_index(git.root / ".git" / "index")
    assert root_of(index.entries) == tree_of(git)
    assert is_exactly(index, tree_of(git))
    assert is_exactly(index._replace(tree=None), tree_of(git)), "without git's note as well"


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry._replace(stage=2),
        lambda entry: entry._replace(intent_to_add=True),
        lambda entry: entry._replace(mode=EXECUTABLE),
        lambda entry: entry._replace(sha=bytes(20)),
        lambda entry: entry._replace(path=entry.path + b"x"),
        lambda entry: entry._replace(mode=0o040000),
    ],
)
def test_what_git_noted_of_an_index_is_not_believed(git: Git, change: Callable[[IndexEntry], IndexEntry]) -> None:
    index = read_index(git.root / ".git" / "index")
    assert index.tree == tree_of(git)
    assert not is_exactly(index._replace(entries=[change(index.entries[0]), *index.entries[1:]]), tree_of(git))
    assert not is_exactly(index._replace(entries=index.entries[1:]), tree_of(git))
    assert not is_exactly(index._replace(incomplete="its index is split over two files"), tree_of(git))


async def test_staged_changes_do_not_hide_behind_a_note_in_the_index(git: Git, worktrees: Worktrees) -> None:
    """Whoever works in the tree writes its index, and could have it say that nothing is staged."""
    made = await worktrees.create("one", reason="nexus:test")
    inside = Git(made.path, git.env)
    inside.write("README.md", "staged\n")
    inside.run("add", "README.md")
    Path(made.path, "README.md").write_text("hello\n")
    index = made.admin_dir / "index"
    body = index.read_bytes()[:-20]
    cut = body.find(b"TREE")
    note = b"\0" + b"2 0\n" + tree_of(git)
    body = (body if cut == -1 else body[:cut]) + b"TREE" + len(note).to_bytes(4, "big") + note
    index.write_bytes(body + hashlib.sha1(body).digest())
    assert read_index(index).tree == tree_of(git)
    assert (await worktrees.report("one")).staged == ("README.md",)
