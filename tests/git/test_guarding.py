"""``.git/commondir``: a way for a workspace to run programs on the host, closed by a file that says "here"."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nexus.errors import GitError
from nexus.git import Worktrees, container_mounts
from tests.engine.everyday_git import ENVIRONMENT, EVERYDAY
from tests.git.oracle import REASON, Git


async def test_without_the_guard_git_would_run_a_workspaces_program(git: Git, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    git.run("clone", "-q", "--bare", str(git.root), str(evil))
    (evil / "config").write_text(
        f'[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "touch {tmp_path}/ran; false"\n'
    )
    (git.root / ".git" / "commondir").write_text(f"{evil}\n")
    git.run("status")
    assert (tmp_path / "ran").exists()


async def test_the_guard_is_there_with_the_first_and_gone_with_the_last(git: Git, worktrees: Worktrees) -> None:
    guard = git.root / ".git" / "commondir"
    for name in ("a", "b"):
        await worktrees.create(name, reason=REASON)
        assert guard.read_bytes() == b".\n"
    again = await worktrees.get("b")
    assert again is not None
    assert "commondir" in again.protected
    mounts = {mount.source: mount.read_only for mount in container_mounts(worktrees.repository, again)}
    assert mounts[str(guard)] is True
    await worktrees.remove("a", expected_tip=None, delete_branch=False)
    assert guard.exists()
    await worktrees.remove("b", expected_tip=None, delete_branch=False)
    assert not guard.exists()


async def test_one_that_leads_elsewhere_is_refused_and_kept(git: Git, worktrees: Worktrees) -> None:
    guard = git.root / ".git" / "commondir"
    guard.write_text("/somewhere\n")
    with pytest.raises(GitError, match="commondir"):
        await worktrees.create("a", reason=REASON)
    assert guard.read_text() == "/somewhere\n"
    assert "nexus" not in git.run("-c", "core.bare=false", f"--git-dir={git.root}/.git", "branch", check=False)


async def test_a_link_there_is_refused(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    (tmp_path / "same").write_text(".\n")
    (git.root / ".git" / "commondir").symlink_to(tmp_path / "same")
    with pytest.raises(GitError, match="commondir"):
        await worktrees.create("a", reason=REASON)


async def test_a_repository_whose_tree_lies_elsewhere_goes_without(git: Git, worktrees: Worktrees) -> None:
    git.run("config", "core.worktree", str(git.root))
    await worktrees.create("a", reason=REASON)
    assert not (git.root / ".git" / "commondir").exists()
    assert git.run("status", "--porcelain") == ""


async def test_everyday_git_in_the_main_checkout_does_not_notice(
    git: Git, worktrees: Worktrees, tmp_path: Path
) -> None:
    """The same list once in a plain repository and once in a guarded one gives the same commits and words."""
    plain = tmp_path / "plain"
    git.write(".gitignore", "/remote.git/\n/.nexus/\n")
    git.commit("ignored")
    git.run("clone", "-q", str(git.root), str(plain))
    for root in (plain, git.root):
        git.run("remote", "remove", "origin", cwd=root, check=False)
        git.run("remote", "add", "origin", f"{root}/remote.git", cwd=root)
    await worktrees.create("guard", reason=REASON)
    assert (git.root / ".git" / "commondir").exists()
    for root in (plain, git.root):
        git.run("switch", "-q", "-c", "nexus/a", cwd=root)
    for step in EVERYDAY:
        if step.title in {"worktree list", "branch delete", "bundle"} or "../a/" in step.script:
            continue
        one, two = run(git, plain, step.script), run(git, git.root, step.script)
        assert (one.returncode, two.returncode) == (step.code, step.code), (step, one, two)
    for question in (["log", "--format=%H %s", "nexus/a"], ["status", "--porcelain=v2"], ["fsck", "--no-dangling"]):
        assert git.run(*question, cwd=plain) == git.run(*question)
    for done in (
        ["config", "some.key", "value"],
        ["worktree", "add", "-q", "../more"],
        ["gc", "-q"],
        ["worktree", "prune"],
    ):
        git.run(*done)
    assert git.run("config", "--local", "some.key").strip() == "value"
    assert git.run("status", "--porcelain", cwd=tmp_path / "more") == ""
    assert git.run("rev-parse", "--is-bare-repository", cwd=git.root / ".git").strip() == "false"


def run(git: Git, root: Path, script: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **git.env, **ENVIRONMENT}
    return subprocess.run(["sh", "-ec", script], cwd=root, env=env, capture_output=True, text=True)
