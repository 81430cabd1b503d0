"""Images that were built here: of a Dockerfile (``nexus-build``), and with the host user's ids (``nexus-user``).

They are named by their content, so workspaces of several repositories share one, and one that is gone is built again by whoever needs it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from pydantic import Field

from nexus.models.built_images import BuiltImage
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.images import BUILD_REPOSITORY
from nexus.providers.docker.named_user import REPOSITORY as USER_REPOSITORY
from nexus.providers.docker.states import list_tagged, untag

_REPOSITORIES: Final = (BUILD_REPOSITORY, USER_REPOSITORY)
_DEADLINE: Final = 60.0


class _Named(Answer):
    last_tag_time: datetime | None = None


class _Image(Answer):
    created: datetime
    size: int = 0
    metadata: _Named = Field(default_factory=_Named)


class _Container(Answer):
    image_id: str = Field(default="", alias="ImageID")


async def list_built(engine: Engine) -> tuple[BuiltImage, ...]:
    """Return the images that were built on this engine, the oldest first."""
    names = {
        name: image.id
        for repository in _REPOSITORIES
        for image in await list_tagged(engine, repository)
        for name in image.tags_of(repository)
    }
    used = await _used(engine) if names else frozenset()
    found = await asyncio.gather(*(_look(engine, name, used=number in used) for name, number in names.items()))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.made_at))


async def _used(engine: Engine) -> frozenset[str]:
    params = {"all": "1"}
    async with engine.stream("list containers", "GET", "containers/json", params=params, deadline=_DEADLINE) as reply:
        return frozenset(parse(_Container, entry).image_id for entry in await reply.json(content_type=None))


async def _look(engine: Engine, name: str, *, used: bool) -> BuiltImage | None:
    try:
        async with engine.stream("look at an image", "GET", f"images/{name}/json") as reply:
            image = parse(_Image, await reply.json(content_type=None))
    except EngineRefused as refusal:
        if refusal.status == 404:
            return None
        raise
    # What a build took from the cache keeps the time at which it was first made; its name is new all the same.
    moments = (image.created, image.metadata.last_tag_time or image.created)
    return BuiltImage(name=name, made_at=max(moments).astimezone(UTC), size=image.size, used=used)


async def remove_built(engine: Engine, name: str) -> bool:
    """Take its name away from an image that was built here; say whether it is gone. One in use stays: the engine itself refuses."""
    return name.partition(":")[0] in _REPOSITORIES and await untag(engine, name, deadline=_DEADLINE)
