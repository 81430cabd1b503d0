"""What a commit holds, without a tree on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dulwich.objects import Commit, ObjectID

from nexus.errors import GitError, InvalidArgument
from nexus.git.repository import opened
from nexus.git.threads import in_thread
from nexus.git.trees import flatten
from nexus.git.wildmatch import MalformedPattern, compile_pattern
from nexus.models.workspace import Repository


class Contents(NamedTuple):
    """The files of a commit."""

    tree: str
    """The id of its tree."""
    files: Mapping[str, str]
    """Path to the id of its content, with the mode before it."""

    def matching(self, patterns: Sequence[str]) -> dict[str, str]:
        """Return the files that patterns, written as in ``.gitignore``, name. A pattern that names a folder names all in it.

        Raises:
            InvalidArgument: When a pattern cannot match anything.
        """
        try:
            compiled = [compile_pattern(os.fsencode(pattern.rstrip("/"))) for pattern in patterns]
        except MalformedPattern as error:
            raise InvalidArgument(f"{error} is no pattern", hint="patterns are written as in .gitignore") from error
        found: dict[str, str] = {}
        for path, content in self.files.items():
            parts = os.fsencode(path).split(b"/")
            above = [b"/".join(parts[: end + 1]) for end in range(len(parts))]
            if any(pattern.fullmatch(one) for pattern in compiled for one in above):
                found[path] = content
        return found


async def contents(repository: Repository, commit: str) -> Contents:
    """Return what a commit holds.

    Args:
        repository: The repository.
        commit: Its id, as 40 hexadecimal digits.

    Raises:
        GitError: When there is no such commit, or a tree of it is missing.
    """

    def work(_: object) -> Contents:
        with opened(repository) as repo:
            try:
                found = repo.object_store[ObjectID(commit.encode())]
            except KeyError as error:
                raise GitError(f"there is no commit {commit}") from error
            if not isinstance(found, Commit):
                raise GitError(f"{commit} is not a commit")
            files = flatten(repo.object_store, bytes.fromhex(found.tree.decode()))
            named = {os.fsdecode(file.path): f"{file.mode:o} {file.sha.hex()}" for file in files}
            return Contents(found.tree.decode(), named)

    return await in_thread(work)
