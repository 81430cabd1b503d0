"""Which repositories this user has: those that the user's own file names, and those that the node's registry counts workspaces in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from nexus.config import Settings
from nexus.errors import NexusError
from nexus.git import find_repository
from nexus.models.discovery import KnownRepository
from nexus.state import NodeRegistry
from nexus.workspace.quota import user_name


async def known_repositories(settings: Settings) -> tuple[KnownRepository, ...]:
    """Return every repository of this user's, by path. Other users' are not named.

    Args:
        settings: The user's settings, whatever the project.

    Raises:
        StateError: When the node's registry cannot be read.
    """
    named = [(name, entry.path) for name, entry in settings.workspaces.items()]
    counted = await _counted(settings.state_dir / "workspaces.db")
    found: dict[Path, KnownRepository] = {}
    for name, path in [*named, *((None, path) for path in counted)]:
        one = await _look(path)
        before = found.get(one.root, one)
        names = (*before.names, name) if name is not None else before.names
        found[one.root] = before.model_copy(update={"names": names, "claimed": counted.get(one.root, 0)})
    return tuple(found[root] for root in sorted(found))


async def _counted(path: Path) -> Mapping[Path, int]:
    registry = NodeRegistry(path)
    try:
        claims = await registry.claims()
    finally:
        await registry.aclose()
    own = user_name()
    return Counter(claim.repository for claim in claims if claim.user == own)


async def _look(path: Path) -> KnownRepository:
    try:
        return KnownRepository(root=(await find_repository(path)).root)
    except NexusError as error:
        return KnownRepository(root=path, problem=error.message, hint=error.hint)
    except OSError as error:
        return KnownRepository(root=path, problem=f"{path} cannot be read: {error.strerror or error}")
