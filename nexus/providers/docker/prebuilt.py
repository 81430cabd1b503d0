"""Prebuilt images on an engine: a stopped container committed under a name that its key decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from pydantic import JsonValue

from nexus.errors import ProviderError
from nexus.models.instances import LABEL_NODE, LABEL_REPOSITORY, LABEL_WORKSPACE, InstanceRef
from nexus.models.prebuilds import LABEL_PREBUILD, Prebuild
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.finding import find_container
from nexus.providers.docker.images import find_image
from nexus.providers.docker.states import untag

REPOSITORY: Final = "nexus-prebuild"
LABEL_FACTS: Final = "dev.nexus.prebuild.facts"
_COMMIT: Final = 600.0
_DEADLINE: Final = 60.0


class _Listed(Answer):
    id: str
    created: int = 0
    size: int = 0
    labels: Mapping[str, str] | None = None
    repo_tags: list[str] | None = None


async def image_id(engine: Engine, image: str) -> str | None:
    """Return the id of an image by its name; ``None`` when it is not on the engine."""
    found = await find_image(engine, image)
    return None if found is None else found.id


async def listed(engine: Engine, labels: Mapping[str, str]) -> tuple[Prebuild, ...]:
    """Return the prebuilt images that carry these labels and have their name, the newest first.

    An image that somebody pulled can carry any label; the name is only given here.
    """
    wanted = [LABEL_PREBUILD, *(f"{name}={value}" for name, value in labels.items())]
    params = {"filters": json.dumps({"label": wanted, "reference": [f"{REPOSITORY}:*"]})}
    async with engine.stream("list images", "GET", "images/json", params=params, deadline=_DEADLINE) as reply:
        images = [parse(_Listed, entry) for entry in await reply.json(content_type=None)]
    found = [_read(image) for image in images]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.made_at, reverse=True))


def _read(image: _Listed) -> Prebuild | None:
    labels = dict(image.labels or {})
    key = labels.get(LABEL_PREBUILD, "")
    if f"{REPOSITORY}:{key}" not in (image.repo_tags or ()):
        return None
    try:
        facts = json.loads(labels.pop(LABEL_FACTS, "{}"))
        return Prebuild.model_validate(
            {
                **facts,
                "key": key,
                "image": image.id,
                "size": image.size,
                "made_at": datetime.fromtimestamp(image.created, UTC),
                "labels": {name: labels[name] for name in (LABEL_REPOSITORY, LABEL_NODE) if name in labels},
            }
        )
    except (ValueError, TypeError):
        return None


async def keep(engine: Engine, ref: InstanceRef, prebuild: Prebuild) -> Prebuild:
    """Commit a stopped workspace's container, and return what was made.

    Cancelled: it is made whole, or not at all.

    Raises:
        ProviderError: When there is no container.
    """
    container = await find_container(engine, ref)
    if container is None:
        raise ProviderError(f"the container of workspace {ref.name!r} is gone")
    facts = prebuild.model_dump(mode="json", include={"holds", "tree", "declared", "portable"})
    labels = {**prebuild.labels, LABEL_PREBUILD: prebuild.key, LABEL_FACTS: json.dumps(facts), LABEL_WORKSPACE: ""}
    params = {"container": container.id, "repo": REPOSITORY, "tag": prebuild.key, "pause": "0"}
    body: dict[str, JsonValue] = {"Labels": {**labels}}
    async with engine.stream("keep an image", "POST", "commit", params=params, json=body, deadline=_COMMIT):
        pass
    await _drop_nameless(engine, prebuild.labels)
    made = await listed(engine, {LABEL_PREBUILD: prebuild.key})
    if not made:
        raise ProviderError(f"the engine has no image {REPOSITORY}:{prebuild.key} although it has just been kept")
    return made[0]


async def _drop_nameless(engine: Engine, labels: Mapping[str, str]) -> None:
    """Remove images whose name a newer one of the same key has taken. One that a container was made from stays as long as that does."""
    wanted = [LABEL_PREBUILD, *(f"{name}={value}" for name, value in labels.items())]
    params = {"filters": json.dumps({"label": wanted, "dangling": ["true"]})}
    async with engine.stream("list images", "GET", "images/json", params=params, deadline=_DEADLINE) as reply:
        images = [parse(_Listed, entry) for entry in await reply.json(content_type=None)]
    for image in images:
        await untag(engine, image.id, deadline=_COMMIT)


async def remove(engine: Engine, key: str) -> bool:
    """Remove a prebuilt image; say whether it was there and is gone. One that a container was made from stays."""
    return await untag(engine, quote(f"{REPOSITORY}:{key}", safe=":"), deadline=_COMMIT)
