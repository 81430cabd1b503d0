"""Repositories that the real git program made, away from the machine's own configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexus.git import Worktrees
from tests.git.oracle import Git


@pytest.fixture
def git_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Keep the machine's own git configuration out, for git and for the package alike."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = A Person\n\temail = person@example.org\n"
        '[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n[protocol "file"]\n\tallow = always\n'
    )
    return dict(os.environ)


@pytest.fixture
def git(tmp_path: Path, git_env: dict[str, str]) -> Git:
    """Give a repository with one commit."""
    root = tmp_path / "repo"
    root.mkdir()
    made = Git(root, git_env)
    made.run("init", "-q")
    made.write("README.md", "hello\n")
    made.write("src/app.py", "print('hi')\n")
    made.commit("first")
    made.settle()
    return made


@pytest.fixture
def empty(tmp_path: Path, git_env: dict[str, str]) -> Git:
    """Give a repository without a commit."""
    root = tmp_path / "empty"
    root.mkdir()
    made = Git(root, git_env)
    made.run("init", "-q")
    return made


@pytest.fixture
async def worktrees(git: Git) -> Worktrees:
    return await git.worktrees()
