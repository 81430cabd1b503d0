"""Other host ports or mounts for a container that is there: an engine fixes them at creation, so the container is made again.

What programs wrote inside is kept: the stopped container is committed to an image of its own and the new one starts from that;
volumes, also nameless ones, go over. The old container is removed last, so that a crash in between leaves it to be found.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from nexus.errors import StateConflict, WorkspaceGone
from nexus.models.ids import WorkspaceId
from nexus.models.instances import LABEL_SERVICE, LABEL_WORKSPACE, InstanceRef
from nexus.models.mounts import VolumeMount
from nexus.models.ports import PortMapping
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.container_config import mount_body, port_bindings
from nexus.providers.docker.facts import LABEL_PORTS, LABEL_STATE, ports_label
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.states import STATES

_DEADLINE: Final = 300.0


class _Image(Answer):
    id: str


class Change(NamedTuple):
    """What is to be different. ``None``: as it is."""

    ports: tuple[PortMapping, ...] | None = None
    folder: str | None = None
    """The folder inside whose mounts are replaced."""
    mounts: tuple[VolumeMount, ...] = ()
    """What is mounted there instead."""


async def make_again(engine: Engine, ref: InstanceRef, change: Change) -> InstanceRef:
    """Make a stopped container again with a change, and return how it is found from now on.

    Raises:
        WorkspaceGone: When there is no container.
        StateConflict: When it runs or is paused.
    """
    old = await _newest(engine, ref)
    if old["State"]["Running"] or old["State"]["Paused"]:
        raise StateConflict(
            f"workspace {ref.name!r} is running, and a container's ports and mounts are fixed while it does",
            hint="stop it first",
            details={"state": "running", "allowed": ["stop"]},
        )
    image = await _commit(engine, old["Id"], ref.id)
    name = old["Name"].lstrip("/")
    if not name.endswith("-old"):
        await _post(engine, "rename the container", f"containers/{old['Id']}/rename", {"name": f"{name}-old"})
    async with engine.door("create the container", deadline=_DEADLINE) as docker:
        new = await docker.containers.create(_body(old, image, change), name=name.removesuffix("-old"))
    await _delete(engine, f"containers/{old['Id']}")
    return ref.model_copy(update={"handle": new.id})


def _body(old: Mapping[str, Any], image: str, change: Change) -> dict[str, Any]:
    """Return what the old container was made from, with another image and what is to be different. Pure."""
    config = {**old["Config"], "Image": image}
    host = dict(old["HostConfig"])
    if change.ports is not None:
        bindings = port_bindings(change.ports)
        host["PortBindings"] = bindings
        config["ExposedPorts"] = {key: {} for key in bindings}
        config["Labels"] = {**(config.get("Labels") or {}), LABEL_PORTS: ports_label(change.ports)}
    if change.folder is not None:
        below = PurePosixPath(change.folder)
        kept = [mount for mount in host.get("Mounts") or () if not PurePosixPath(mount["Target"]).is_relative_to(below)]
        host["Mounts"] = [*kept, *(mount_body(mount, {}) for mount in change.mounts)]
    named = {mount.get("Target") for mount in host.get("Mounts") or ()}
    # A nameless volume belongs to its container; by its name it goes over to the next one.
    host["Mounts"] = [
        *(host.get("Mounts") or ()),
        *(
            {"Type": "volume", "Source": mount["Name"], "Target": mount["Destination"], "ReadOnly": not mount["RW"]}
            for mount in old["Mounts"]
            if mount["Type"] == "volume" and mount["Destination"] not in named
        ),
    ]
    return {**config, "HostConfig": host}


async def _newest(engine: Engine, ref: InstanceRef) -> Mapping[str, Any]:
    """Return the workspace's container, and remove what an earlier try that was cut short made beside it."""
    filters = {"label": [f"{LABEL_WORKSPACE}={ref.id}"]}
    async with engine.door("list containers", deadline=60.0) as docker:
        listed = await docker.containers.list(all=True, filters=filters)
        every = [await container.show() for container in listed]
    # What runs beside the workspace is not the workspace.
    found = [one for one in every if LABEL_SERVICE not in (one["Config"].get("Labels") or {})]
    if not found:
        raise WorkspaceGone(
            f"the container of workspace {ref.name!r} was removed", hint="start the workspace to make it again"
        )
    # With two of them, the renamed one is the whole one: the other was never started.
    found.sort(key=lambda one: (not one["Name"].endswith("-old"), one["Id"] != ref.handle))
    for extra in found[1:]:
        await _delete(engine, f"containers/{extra['Id']}")
    whole: Mapping[str, Any] = found[0]
    return whole


async def _commit(engine: Engine, container: str, number: WorkspaceId) -> str:
    params = {
        "container": container,
        "repo": STATES,
        "tag": number[:8],
        "pause": "0",
        "changes": f"LABEL {LABEL_STATE}={number}",
    }
    async with engine.stream(
        "keep the container's files", "POST", "commit", params=params, json={}, deadline=_DEADLINE
    ) as reply:
        return parse(_Image, await reply.json(content_type=None)).id


async def _post(engine: Engine, doing: str, path: str, params: Mapping[str, str]) -> None:
    async with engine.stream(doing, "POST", path, params=params, json={}, deadline=60.0):
        pass


async def _delete(engine: Engine, path: str) -> None:
    doing, params = "remove what is not needed any more", {"force": "1"}
    try:
        async with engine.stream(doing, "DELETE", path, params=params, deadline=120.0):
            pass
    except EngineRefused as exc:
        if exc.status not in {404, 409}:
            raise
