from __future__ import annotations

import pytest

from nexus.errors import RefNotFound, UnbornHead
from nexus.git import Worktrees
from tests.git.oracle import Git

NAMES = [
    "HEAD", "@", "HEAD~1", "HEAD^", "HEAD~", "@~2", "HEAD^^", "HEAD^0", "HEAD^{commit}", "main", "heads/main", "refs/heads/main",
    "feature/x", "v1", "v2", "v2^{}", "tags/v2", "v2~1", "origin/main", "origin", "refs/remotes/origin/main", "merge^2", "merge^2~1",
]  # fmt: skip


@pytest.fixture
def rich(git: Git) -> Git:
    """A repository with one of everything that has a name."""
    git.write("a", "1")
    git.commit("second")
    git.run("tag", "v1")
    git.run("tag", "-a", "v2", "-m", "annotated")
    git.run("tag", "-a", "nested", "v2", "-m", "a tag of a tag")
    git.run("branch", "feature/x", "HEAD~1")
    git.run("checkout", "-q", "feature/x")
    git.write("b", "2")
    git.commit("beside")
    git.run("checkout", "-q", "main")
    git.run("merge", "-q", "--no-ff", "-m", "merged", "feature/x")
    git.run("branch", "merge")
    git.run("update-ref", "refs/remotes/origin/main", "HEAD~1")
    git.run("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    return git


@pytest.mark.parametrize("packed", [False, True])
async def test_every_name_means_what_git_says(rich: Git, packed: bool) -> None:
    if packed:
        rich.run("pack-refs", "--all")
        rich.run("gc", "-q")
    worktrees = await rich.worktrees()
    for name in [*NAMES, "nested"]:
        assert await worktrees.resolve(name) == rich.run("rev-parse", f"{name}^{{commit}}").strip(), name


async def test_full_and_abbreviated_ids_are_understood(rich: Git) -> None:
    worktrees = await rich.worktrees()
    full = rich.head()
    for given in (full, full.upper(), full[:12], full[:7]):
        assert await worktrees.resolve(given) == full


async def test_a_detached_head_is_a_commit_too(rich: Git) -> None:
    rich.run("checkout", "-q", "--detach", "HEAD~1")
    assert await (await rich.worktrees()).resolve("HEAD") == rich.head()


async def test_a_branch_of_twenty_letters_is_not_taken_for_a_raw_id(rich: Git) -> None:
    rich.run("branch", "a" * 20, "HEAD~1")
    assert await (await rich.worktrees()).resolve("a" * 20) == rich.run("rev-parse", "HEAD~1").strip()


@pytest.mark.parametrize(
    "name",
    ["nowhere", "HEAD~99", "v1^3", "deadbeef", "0" * 40, "", "a..b", "main@{1}", "HEAD:README.md", "config", "../HEAD", "-x", "HEAD~x"],
)  # fmt: skip
async def test_what_names_no_commit_is_not_found(rich: Git, name: str) -> None:
    worktrees = await rich.worktrees()
    with pytest.raises(RefNotFound):
        await worktrees.resolve(name)


async def test_a_tag_of_a_tree_is_no_commit(rich: Git) -> None:
    rich.run("tag", "tree", rich.run("rev-parse", "HEAD^{tree}").strip())
    with pytest.raises(RefNotFound, match="a tree, not a commit"):
        await (await rich.worktrees()).resolve("tree")


async def test_an_ambiguous_short_id_says_how_many(rich: Git) -> None:
    tree = rich.run("rev-parse", "HEAD^{tree}").strip()
    made: dict[str, str] = {}
    for number in range(3000):
        text = f"tree {tree}\nauthor a <a> {number} +0000\ncommitter a <a> {number} +0000\n\n{number}\n".encode()
        sha = rich.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=text).strip()
        if sha[:4] in made:
            with pytest.raises(RefNotFound, match="is short for 2 commits"):
                await (await rich.worktrees()).resolve(sha[:4])
            return
        made[sha[:4]] = sha
    raise AssertionError("no two commits share four digits")


async def test_without_a_commit_there_is_a_hint(empty: Git) -> None:
    worktrees: Worktrees = await empty.worktrees()
    with pytest.raises(UnbornHead) as caught:
        await worktrees.resolve("HEAD")
    assert caught.value.hint is not None
    assert "first commit" in caught.value.hint
    with pytest.raises(RefNotFound):
        await worktrees.resolve("main")


async def test_a_named_pipe_among_the_refs_blocks_nothing(git: Git) -> None:
    import os

    os.mkfifo(git.root / ".git" / "refs" / "heads" / "pipe")
    assert await (await git.worktrees()).resolve("main") == git.head()
