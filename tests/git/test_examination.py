"""What is found in a repository that a workspace has tampered with, and that nothing is found in a healthy one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexus.git import Worktrees, examine
from tests.git.oracle import REASON, Git


async def found(worktrees: Worktrees) -> list[str]:
    return [entry.message for entry in await examine(worktrees.repository)]


async def test_a_healthy_repository_has_nothing(git: Git, worktrees: Worktrees) -> None:
    assert await found(worktrees) == []
    made = await worktrees.create("a", reason=REASON)
    (made.path / "new.txt").write_text("new\n")
    git.commit("work", cwd=made.path)
    git.run("gc", "-q")
    assert await found(worktrees) == []


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("core.bare", "true", "bare"),
        ("core.worktree", "/elsewhere", "core.worktree"),
        ("core.hooksPath", ".nexus/worktrees/a/hooks", "core.hookspath"),
        ("core.fsmonitor", ".nexus/worktrees/a/watch", "core.fsmonitor"),
    ],
)
async def test_settings_that_break_the_checkout_or_run_a_workspaces_program(
    git: Git, worktrees: Worktrees, setting: str, value: str, says: str
) -> None:
    await worktrees.create("a", reason=REASON)
    git.run("config", setting, value)
    assert any(says in message for message in await found(worktrees))


async def test_a_users_own_hooks_and_programs_are_their_own_affair(git: Git, worktrees: Worktrees) -> None:
    git.run("config", "core.hooksPath", str(git.root / ".husky"))
    git.run("config", "core.fsmonitor", "true")
    git.write(".git/hooks/pre-commit", "#!/bin/sh\n", mode=0o755)
    assert await found(worktrees) == []


async def test_a_hook_that_leads_into_a_workspace(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("a", reason=REASON)
    (git.root / ".git" / "hooks" / "post-commit").symlink_to(made.path / "README.md")
    assert any("post-commit" in message for message in await found(worktrees))


async def test_pipes_and_links_are_told_and_hold_nobody(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("a", reason=REASON)
    for path in (git.root / ".git" / "shallow", git.root / ".git" / "packed-refs", made.admin_dir / "config.worktree"):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    messages = await found(worktrees)
    assert any("shallow" in message or "packed-refs" in message for message in messages)


async def test_what_is_shown_of_a_pointer_cannot_move_the_cursor(
    git: Git, worktrees: Worktrees, tmp_path: Path
) -> None:
    made = await worktrees.create("a", reason=REASON)
    (made.path / ".git").write_bytes(b"gitdir: /evil\x1b[2J\nrm -rf\n")
    (message,) = await found(worktrees)
    assert "\x1b" not in message
    assert "\n" not in message


async def test_a_private_clone_has_a_folder_where_others_have_a_pointer(git: Git, worktrees: Worktrees) -> None:
    tree = await worktrees.create("a", reason=REASON, isolation="clone")
    assert await found(worktrees) == []
    git_dir = tree.path / ".git"
    git_dir.rename(tree.path / "moved")
    assert [message.partition(": ")[0] for message in await found(worktrees)] == [f"{git_dir} is gone"]
    git_dir.symlink_to(git.root / ".git")
    assert await found(worktrees) == [f"{git_dir} was changed: a link to {git.root / '.git'}"]
