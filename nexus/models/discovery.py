"""What a user has on this machine, over all repositories."""

from __future__ import annotations

from pathlib import Path

from nexus.models.base import Model
from nexus.models.workspace import ListEntry


class KnownRepository(Model):
    """A repository that this user has named in the configuration, or has workspaces in."""

    root: Path
    """Its main work tree; the folder as it was named where no repository is found there."""
    names: tuple[str, ...] = ()
    """What the user's own file calls it."""
    claimed: int = 0
    """How many workspaces of this user the node's registry counts in it."""
    problem: str | None = None
    """Why it cannot be used; ``None`` when a repository is there."""
    hint: str | None = None


class RepositoryListing(Model):
    """A repository with its workspaces, or with the reason why they cannot be listed."""

    repository: KnownRepository
    workspaces: tuple[ListEntry, ...] = ()

    @property
    def problem(self) -> str | None:
        """Why its workspaces cannot be listed; ``None`` when they are."""
        return self.repository.problem
