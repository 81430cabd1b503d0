"""What creation has to say about content that it left as it is."""

from __future__ import annotations

import pytest

from nexus.git import Worktrees
from nexus.models.workspace import Isolation
from tests.git.oracle import REASON, Git


@pytest.mark.parametrize("isolation", ["worktree", "clone"])
async def test_submodules_and_large_files_are_named_with_what_to_do(git: Git, isolation: Isolation) -> None:
    git.write(".gitattributes", "*.bin filter=lfs\n")
    git.write("model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    git.run("add", "-A")
    for name in ("libs/one", "libs/two"):
        git.run("update-index", "--add", "--cacheinfo", f"160000,{git.head()},{name}")
    git.run("commit", "-qm", "submodules and large files")
    git.run("rm", "-q", "--cached", "model.bin")
    worktrees: Worktrees = await git.worktrees()
    tree = await worktrees.create("a", reason=REASON, isolation=isolation)
    assert (tree.path / "libs/one").is_dir()
    assert (tree.path / "model.bin").read_text().startswith("version https://git-lfs")
    lfs, submodules = sorted(tree.notes)
    assert "model.bin" in lfs
    assert "git lfs pull" in lfs
    assert "git submodule update --init" in submodules
    assert submodules.endswith("libs/one, libs/two")


async def test_a_plain_tree_has_nothing_to_say(worktrees: Worktrees) -> None:
    assert (await worktrees.create("a", reason=REASON)).notes == ()
