"""Named volumes of workspaces: listed by label, removed one by one, never those of somebody else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from nexus.errors import StateConflict
from nexus.models.instances import LABEL_NAME, LABEL_REPOSITORY, LABEL_WORKSPACE
from nexus.models.services import KeptVolume
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.failures import EngineRefused

_DEADLINE: Final = 60.0


class _Volume(Answer):
    name: str
    labels: Mapping[str, str] | None = None
    created_at: str = ""


class _Volumes(Answer):
    volumes: tuple[_Volume, ...] | None = None


async def list_volumes(engine: Engine, labels: Mapping[str, str]) -> tuple[KeptVolume, ...]:
    """Return the volumes that carry these labels, by name; an empty value matches any."""
    wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
    params = {"filters": json.dumps({"label": wanted})}
    async with engine.stream("list volumes", "GET", "volumes", params=params, deadline=_DEADLINE) as reply:
        found = parse(_Volumes, await reply.json(content_type=None))
    return tuple(sorted(map(_read, found.volumes or ()), key=lambda volume: volume.name))


def _read(volume: _Volume) -> KeptVolume:
    labels = volume.labels or {}
    return KeptVolume(
        name=volume.name,
        workspace=labels.get(LABEL_WORKSPACE, ""),
        workspace_name=labels.get(LABEL_NAME, ""),
        repository=labels.get(LABEL_REPOSITORY, ""),
        created=volume.created_at,
    )


async def remove_volume(engine: Engine, name: str) -> None:
    """Remove a volume that carries a workspace's label. Not there: nothing.

    Raises:
        StateConflict: When a container uses it, or it carries no such label.
    """
    path = f"volumes/{quote(name, safe='')}"
    try:
        async with engine.stream("look at a volume", "GET", path, deadline=_DEADLINE) as reply:
            found = parse(_Volume, await reply.json(content_type=None))
        if LABEL_WORKSPACE not in (found.labels or {}):
            raise StateConflict(
                f"volume {name} was not made for a workspace", details={"state": "foreign", "allowed": []}
            )
        async with engine.stream("remove a volume", "DELETE", path, deadline=_DEADLINE):
            pass
    except EngineRefused as exc:
        if exc.status == 404:
            return
        if exc.status != 409:
            raise
        raise StateConflict(
            f"volume {name} is in use by a container",
            hint="remove that container first",
            details={"state": "in use", "allowed": []},
        ) from exc
