"""Images that hold one workspace's own files, under the workspace's name: ``nexus-state:<id8>``, and ``-<n>`` for its services.

They go with the workspace. Names are removed, never images: one that has another name, or that something else was made from, stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from nexus.models.ids import WorkspaceId
from nexus.models.instances import LABEL_SERVICE
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.facts import LABEL_BASE, LABEL_STATE
from nexus.providers.docker.failures import EngineRefused

STATES: Final = "nexus-state"
_USED: Final = "-used"
_DEADLINE: Final = 120.0


class Tagged(Answer):
    """An image, as ``GET /images/json`` lists it."""

    id: str
    repo_tags: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None

    def tags_of(self, repository: str) -> tuple[str, ...]:
        """Return its names in a repository."""
        return tuple(name for name in self.repo_tags or () if name.startswith(f"{repository}:"))


async def list_tagged(engine: Engine, repository: str, labels: Mapping[str, str] | None = None) -> list[Tagged]:
    """Return the images that have a name in a repository and carry these labels."""
    wanted = {"reference": [repository], "label": [f"{key}={value}" for key, value in (labels or {}).items()]}
    params = {"filters": json.dumps({key: value for key, value in wanted.items() if value})}
    async with engine.stream("list images", "GET", "images/json", params=params, deadline=_DEADLINE) as reply:
        return [parse(Tagged, entry) for entry in await reply.json(content_type=None)]


async def tag(engine: Engine, image: str, name: str) -> None:
    """Give an image one more name."""
    repository, _, version = name.partition(":")
    params = {"repo": repository, "tag": version}
    async with engine.stream("name an image", "POST", f"images/{image}/tag", params=params, deadline=_DEADLINE):
        pass


async def untag(engine: Engine, name: str, *, deadline: float = _DEADLINE) -> bool:
    """Take a name away from an image; the last one takes the image along unless something needs it.

    Returns:
        Whether it was there and is gone.
    """
    try:
        async with engine.stream("remove what is not needed any more", "DELETE", f"images/{name}", deadline=deadline):
            return True
    except EngineRefused as exc:
        if exc.status in {404, 409}:
            return False
        raise


async def remove_states(engine: Engine, number: WorkspaceId) -> None:
    """Remove the images that hold a workspace's files. Its containers are gone."""
    prefix = f"{STATES}:{number[:8]}"
    for image in await list_tagged(engine, STATES):
        for name in image.tags_of(STATES):
            if name == prefix or name.startswith(f"{prefix}-"):
                await untag(engine, name)
    # One that lost its name to a newer one has only its label; what is made from it keeps it.
    params = {"filters": json.dumps({"label": [f"{LABEL_STATE}={number}"], "dangling": ["true"]})}
    async with engine.stream("list images", "GET", "images/json", params=params, deadline=_DEADLINE) as reply:
        left = [parse(Tagged, entry) for entry in await reply.json(content_type=None)]
    for image in left:
        await untag(engine, image.id)


async def waiting_state(engine: Engine, identifier: str, service: str, base: str) -> str | None:
    """Return the name of the image that a service begins with because a checkpoint was restored; ``None`` for its own image.

    Args:
        engine: The engine.
        identifier: The workspace.
        service: The service.
        base: The id of the service's own image: files of another one are of no use.
    """
    prefix = f"{STATES}:{identifier[:8]}-"
    for image in await list_tagged(engine, STATES, {LABEL_SERVICE: service, LABEL_BASE: base}):
        for name in image.tags_of(STATES):
            if name.startswith(prefix) and not name.endswith(_USED):
                return name
    return None


async def use_state(engine: Engine, name: str) -> None:
    """Note that a service has begun with an image: made again later, it begins with its own, as any other does."""
    await tag(engine, name, f"{name}{_USED}")
    await untag(engine, name)
