from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nexus.errors import BareRepository, GitError, NotARepository
from nexus.git import Worktrees, find_repository
from tests.git.oracle import REASON, Git


async def test_it_is_found_from_any_folder_inside(git: Git) -> None:
    for place in (
        git.root,
        git.root / "src",
        git.root / "src" / "app.py",
        git.root / ".git",
        git.root / ".git" / "refs",
    ):
        found = await find_repository(place)
        assert (found.root, found.common_dir) == (git.root, git.root / ".git"), place


async def test_the_address_of_origin_comes_along(git: Git) -> None:
    assert (await find_repository(git.root)).remote is None
    git.run("remote", "add", "origin", "https://example.org/a.git")
    assert (await find_repository(git.root)).remote == "https://example.org/a.git"


async def test_a_linked_worktree_leads_to_the_main_one(git: Git, tmp_path: Path) -> None:
    git.run("worktree", "add", "-q", str(tmp_path / "linked"))
    found = await find_repository(tmp_path / "linked" / "src")
    assert found.root == git.root


async def test_a_worktree_of_ours_leads_to_the_main_one(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    for place in (made.path, made.path / "src"):
        assert (await find_repository(place)).root == git.root


async def test_a_worktrees_own_pointer_is_not_believed(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    made = await worktrees.create("one", reason=REASON)
    trap = tmp_path / "trap"
    git.run("init", "-q", str(trap))
    (made.path / ".git").write_text(f"gitdir: {trap / '.git'}\n")
    assert (await find_repository(made.path)).root == git.root
    git.run("init", "-q", str(made.path / "src" / "nested"))
    assert (await find_repository(made.path / "src" / "nested")).root == git.root


async def test_a_submodule_is_a_repository_of_its_own(git: Git, tmp_path: Path) -> None:
    git.run("clone", "-q", str(git.root), str(tmp_path / "library"))
    git.run("submodule", "add", "-q", str(tmp_path / "library"), "lib")
    found = await find_repository(git.root / "lib" / "src")
    assert found.root == git.root / "lib"
    assert found.common_dir == git.root / ".git" / "modules" / "lib"


async def test_a_separate_git_dir_is_followed(empty: Git, tmp_path: Path) -> None:
    git_dir, tree = tmp_path / "elsewhere.git", tmp_path / "tree"
    empty.run("init", "-q", "--separate-git-dir", str(git_dir), str(tree))
    found = await find_repository(tree)
    assert (found.root, found.common_dir) == (tree, git_dir)


async def test_the_callers_environment_is_not_looked_at(git: Git, empty: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(empty.root / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(empty.root))
    assert (await find_repository(git.root)).root == git.root


async def test_a_bare_repository_is_refused_with_the_reason(git: Git, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git.run("clone", "-q", "--bare", str(git.root), str(bare))
    for place in (bare, bare / "refs"):
        with pytest.raises(BareRepository, match="no work tree") as caught:
            await find_repository(place)
        assert caught.value.hint
    git.run("worktree", "add", "-q", str(tmp_path / "linked"), cwd=bare)
    with pytest.raises(BareRepository):
        await find_repository(tmp_path / "linked")


async def test_outside_of_any_repository_there_is_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NotARepository, match="not inside a git repository") as caught:
        await find_repository(tmp_path)
    assert caught.value.hint is not None
    assert "git init" in caught.value.hint
    with pytest.raises(NotARepository, match="does not exist"):
        await find_repository(tmp_path / "nowhere")


async def test_a_pointer_that_leads_nowhere_is_said_so(git: Git, tmp_path: Path) -> None:
    git.run("worktree", "add", "-q", str(tmp_path / "linked"))
    shutil.rmtree(git.root / ".git" / "worktrees")
    with pytest.raises(NotARepository, match="does not lead to a git directory"):
        await find_repository(tmp_path / "linked")


@pytest.mark.parametrize("format_of", ["--object-format=sha256"])
async def test_a_sha256_repository_is_refused_clearly(empty: Git, tmp_path: Path, format_of: str) -> None:
    empty.run("init", "-q", format_of, str(tmp_path / "new"))
    with pytest.raises(GitError, match="only SHA-1 repositories") as caught:
        await find_repository(tmp_path / "new")
    assert caught.value.hint


async def test_an_extension_that_is_not_known_is_refused(git: Git) -> None:
    git.run("config", "core.repositoryformatversion", "1")
    git.run("config", "extensions.partialClone", "origin")
    with pytest.raises(GitError, match="partialclone") as caught:
        await find_repository(git.root)
    assert caught.value.hint is not None
    assert "--refetch" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_somebody_elses_repository_is_refused_unless_it_is_trusted(
    git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(git.root / ".git", 12345, 12345)
    assert (await find_repository(git.root)).root == git.root, "root may"
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(GitError, match="another user") as caught:
        await find_repository(git.root)
    assert caught.value.hint is not None
    assert "safe.directory" in caught.value.hint
    git.run("config", "--global", "--add", "safe.directory", str(git.root))
    assert (await find_repository(git.root)).root == git.root
