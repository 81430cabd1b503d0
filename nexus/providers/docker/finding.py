"""Containers, found by the labels that they carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nexus.models.instances import LABEL_SERVICE, LABEL_WORKSPACE, InstanceRef
from nexus.providers.docker.client import Engine, parse
from nexus.providers.docker.facts import LABEL_COPYING, Container, Listed
from nexus.providers.docker.failures import EngineRefused


async def find_container(engine: Engine, ref: InstanceRef) -> Container | None:
    """Return the container of a workspace; ``None`` when there is none.

    A handle alone is not believed: it comes from a record, and the container it names has to carry the workspace's label.
    """
    if ref.handle:
        found = await _describe(engine, ref.handle)
        if found is not None and found.labels.get(LABEL_WORKSPACE) == ref.id and LABEL_SERVICE not in found.labels:
            return found
    for listed in await list_containers(engine, {LABEL_WORKSPACE: ref.id}):
        found = await _describe(engine, listed.id)
        if found is not None:
            return found
    return None


async def _describe(engine: Engine, number: str) -> Container | None:
    if not number.isalnum():
        return None
    try:
        async with engine.door("look at a container") as docker:
            raw = await docker.containers.container(number).show()
    except EngineRefused as exc:
        if exc.status == 404:
            return None
        raise
    return parse(Container, raw)


async def list_containers(
    engine: Engine, labels: dict[str, str], *, services: bool = False, copying: bool = False
) -> list[Listed]:
    """Return every container that carries these labels; an empty value matches any.

    Those of services only when asked for, and those that are there for copying volumes only with ``copying``, alone then.
    """
    wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
    every = await _list(engine, {"label": wanted})
    every = [one for one in every if (LABEL_COPYING in (one.labels or {})) is copying]
    return every if services else [one for one in every if LABEL_SERVICE not in (one.labels or {})]


async def list_users(engine: Engine, volumes: Sequence[str]) -> list[Listed]:
    """Return every container that uses one of these volumes, whoever's it is."""
    return await _list(engine, {"volume": list(volumes)})


async def _list(engine: Engine, filters: Mapping[str, list[str]]) -> list[Listed]:
    async with engine.door("list containers", deadline=30.0) as docker:
        found = await docker.containers.list(all=True, filters=filters)
        return [parse(Listed, {key: one[key] for key in ("Id", "State", "Status", "Labels")}) for one in found]
