"""Repositories that the real git program made, away from the machine's own configuration."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from nexus.git import Worktrees
from tests.git.oracle import Git


@pytest.fixture
def git_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Keep the machine's own git configuration out, for git and for the package alike."""
    (tmp_path / "home").mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in configured(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


def configured(home: Path) -> dict[str, str]:
    """Write a git configuration into a home folder, and return the environment that has git see it and no other."""
    (home / ".gitconfig").write_text(
        "[user]\n\tname = A Person\n\temail = person@example.org\n"
        '[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n[protocol "file"]\n\tallow = always\n'
    )
    return {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(scope="session")
def first_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit, to be copied."""
    folder = tmp_path_factory.mktemp("first-commit")
    (folder / "home").mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    made = Git(folder / "repo", env | configured(folder / "home"))
    made.root.mkdir()
    made.run("init", "-q")
    made.write("README.md", "hello\n")
    made.write("src/app.py", "print('hi')\n")
    made.commit("first")
    made.settle()
    for sample in (made.root / ".git" / "hooks").iterdir():
        sample.unlink()
    return made.root


@pytest.fixture
def git(tmp_path: Path, git_env: dict[str, str], first_commit: Path) -> Git:
    """Give a repository with one commit."""
    made = Git(tmp_path / "repo", git_env)
    shutil.copytree(first_commit, made.root, symlinks=True)
    made.run("update-index", "-q", "--really-refresh")
    made.outlive()
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
