"""Small git repositories for tests and examples, made without the ``git`` program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dulwich import porcelain
from dulwich.repo import Repo

AUTHOR: Final = b"Nexus Example <example@nexus.invalid>"
WHEN: Final = 1_700_000_000
"""Seconds since 1970 of every commit, so that the same files give the same commit."""


def make_repository(
    path: Path, files: Mapping[str, str | bytes] | None = None, *, branch: str = "main", message: str = "First commit"
) -> str:
    """Make a git repository with one commit.

    Args:
        path: Its folder; made when it is not there.
        files: Content by path below the folder, text as UTF-8; a ``README.md`` when absent.
        branch: The branch that is checked out.
        message: The commit's message.

    Returns:
        The commit's id. The same arguments give the same id, on any machine.
    """
    path.mkdir(parents=True, exist_ok=True)
    with Repo.init(str(path), default_branch=branch.encode()) as repository:
        repository.get_config().write_to_path()
    return commit_files(path, files if files is not None else {"README.md": "# Example\n"}, message=message)


def commit_files(path: Path, files: Mapping[str, str | bytes], *, message: str = "Another commit") -> str:
    """Write files into a repository's work tree and commit them; return the commit's id."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    with Repo(str(path)) as repository:
        porcelain.add(repository, paths=[str(path / name) for name in files])
        commit = repository.get_worktree().commit(
            message=message.encode(),
            committer=AUTHOR,
            author=AUTHOR,
            commit_timestamp=WHEN,
            commit_timezone=0,
            author_timestamp=WHEN,
            author_timezone=0,
            sign=False,
        )
    return commit.decode()
