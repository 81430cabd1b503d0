"""Keeping a workspace's place for a checkpoint, and making places from what was kept.

::

    nexus-checkpoint:<key>            the container's files, committed
    nexus-checkpoint:<key>-<n>        those of a service
    nexus-checkpoint-<key>-<n>        a volume's content
    nexus-state:<id8>, …-<n>          the same images under the name of a workspace that was made from them

An image that has the name of a workspace outlives the checkpoint that it was kept for, and goes with the workspace. A service's
image waits under its name until the service is started for the first time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import Field, JsonValue

from nexus.errors import CheckpointDamaged, StateConflict, Unsupported, WorkspaceGone
from nexus.models.checkpoints import KeptPlace, VolumeCopy
from nexus.models.ids import CheckpointId, WorkspaceId
from nexus.models.instances import (
    LABEL_CHECKPOINT,
    LABEL_REPOSITORY,
    LABEL_SERVICE,
    LABEL_WORKSPACE,
    Capability,
    InstanceRef,
    InstanceSpec,
)
from nexus.models.mounts import VolumeMount
from nexus.providers.docker.ahead import Ahead
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.container_config import own_labels
from nexus.providers.docker.creation import make, remove_container, unmake
from nexus.providers.docker.facts import LABEL_BASE, LABEL_COPYING, LABEL_TARGET, LABEL_TRIAL
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.finding import find_container, list_containers
from nexus.providers.docker.options import DockerOptions
from nexus.providers.docker.states import STATES, list_tagged, remove_states, tag, untag
from nexus.providers.docker.volume_copying import Copy, copy_volumes, has_volume

REPOSITORY: Final = "nexus-checkpoint"
_VOLUME_PREFIX: Final = "nexus-checkpoint-"
_COMMIT_DEADLINE: Final = 900.0
_DEADLINE: Final = 60.0


class _Mounted(Answer):
    type: str = ""
    name: str = ""
    destination: str = ""
    driver: str = ""


class _Described(Answer):
    id: str
    image: str = ""
    config: Mapping[str, Any] = Field(default_factory=dict)
    mounts: tuple[_Mounted, ...] | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        return self.config.get("Labels") or {}


class _Image(Answer):
    id: str
    size: int = 0
    config: Mapping[str, Any] | None = None


class _Volume(Answer):
    name: str
    labels: Mapping[str, str] | None = None


class _Volumes(Answer):
    volumes: tuple[_Volume, ...] | None = None


class _Committed(NamedTuple):
    image: str
    size: int


async def keep_place(
    engine: Engine, ref: InstanceRef, key: CheckpointId, labels: Mapping[str, str], *, processes: bool
) -> KeptPlace:
    """Commit the containers of a workspace and its services, and copy their volumes, all at once. Nothing runs in them now.

    Raises:
        WorkspaceGone: When there is no container.
        Unsupported: When processes are asked for.
    """
    if processes:
        raise _no_processes()
    own, listed = await asyncio.gather(
        find_container(engine, ref),
        list_containers(engine, {LABEL_WORKSPACE: ref.id, LABEL_SERVICE: ""}, services=True),
    )
    if own is None:
        raise WorkspaceGone(f"the container of workspace {ref.name!r} was removed", hint="start it to make it again")
    described = await asyncio.gather(*(_describe(engine, number) for number in (own.id, *(one.id for one in listed))))
    whole = {**labels, LABEL_CHECKPOINT: str(key)}
    wanted, notes = _volumes(described, ref.id, key)
    images: dict[str, _Committed] = {}
    sizes: dict[str, int] = {}

    async def commit(number: int, container: _Described) -> None:
        name = container.labels.get(LABEL_SERVICE, "")
        images[name] = await _commit(engine, container, f"{key}-{number}" if name else str(key), whole)

    async def copy() -> None:
        copies = [Copy(each.source, each.copy_name, whole) for each in wanted]
        sizes.update(await copy_volumes(engine, copies, image=described[0].image, key=key))

    async with asyncio.TaskGroup() as group:
        for number, container in enumerate(described):
            group.create_task(commit(number, container))
        group.create_task(copy())
    volumes = tuple(each.model_copy(update={"size": sizes[each.source]}) for each in wanted)
    return KeptPlace(
        key=key,
        image=images.pop("").image,
        services={name: committed.image for name, committed in images.items()},
        volumes=volumes,
        size=sum(sizes.values()) + sum(committed.size for committed in images.values()),
        notes=tuple(notes),
    )


def _no_processes() -> Unsupported:
    return Unsupported(
        "processes cannot be kept with a checkpoint: the engine gives them back only once, and only to the container that they were taken "
        "from, while a restore makes a new one",
        hint="leave them out: they are started again when it is restored; a stop can keep them: boulder ws down NAME --keep-processes",
        details={"capability": str(Capability.CHECKPOINTS), "provider": "docker"},
    )


async def _describe(engine: Engine, number: str) -> _Described:
    async with engine.door("look at a container", deadline=_DEADLINE) as docker:
        return parse(_Described, await docker.containers.container(number).show())


def _volumes(
    described: Sequence[_Described], identifier: WorkspaceId, key: CheckpointId
) -> tuple[list[VolumeCopy], list[str]]:
    """Return the volumes to copy, each once, and what is left out."""
    found: dict[str, VolumeCopy] = {}
    notes: list[str] = []
    for container in described:
        service = container.labels.get(LABEL_SERVICE)
        for mount in container.mounts or ():
            if mount.type != "volume" or mount.name in found:
                continue
            if mount.driver not in {"", "local"}:
                notes.append(f"volume {mount.name} is kept by the driver {mount.driver!r}, and is not in it")
                continue
            found[mount.name] = VolumeCopy(
                source=mount.name,
                copy_name=f"{_VOLUME_PREFIX}{key}-{len(found)}",
                target=mount.destination,
                service=service,
                declared=mount.name.startswith(f"nexus-{identifier}-"),
            )
    return list(found.values()), list(dict.fromkeys(notes))


def _own(identifier: WorkspaceId) -> str:
    """Return what the names begin with of volumes that no configuration names, but an image."""
    return f"nexus-own-{identifier}-"


async def _commit(engine: Engine, container: _Described, name: str, labels: Mapping[str, str]) -> _Committed:
    base = container.labels.get(LABEL_BASE) or container.image
    before = await _image(engine, container.image)
    config: dict[str, JsonValue] = {**container.config, "Labels": {**container.labels, **labels, LABEL_BASE: base}}
    # What the container was told to run is not what its image runs: who is made from this is told anew, or means the image's own.
    for key in ("Entrypoint", "Cmd"):
        config[key] = list((before.config or {}).get(key) or [])
    params = {"container": container.id, "repo": REPOSITORY, "tag": name, "pause": "0"}
    async with engine.stream(
        "keep the container's files", "POST", "commit", params=params, json=config, deadline=_COMMIT_DEADLINE
    ) as reply:
        made = parse(_Image, await reply.json(content_type=None)).id
    return _Committed(made, max(0, (await _image(engine, made)).size - before.size))


async def _image(engine: Engine, image: str) -> _Image:
    """Return an image; one that somebody removed by force is without size or command."""
    try:
        async with engine.stream("look at an image", "GET", f"images/{image}/json") as reply:
            return parse(_Image, await reply.json(content_type=None))
    except EngineRefused as exc:
        if exc.status == 404:
            return _Image(id=image)
        raise


async def make_from(
    engine: Engine,
    spec: InstanceSpec,
    place: KeptPlace,
    volumes: Mapping[str, str],
    options: DockerOptions,
    *,
    ahead: Ahead | None = None,
) -> str:
    """Make a workspace's container from what was kept, stopped, and return its id. What it had before is removed first.

    Its network stays, if it has one: taking it away and making the same again takes the engine longer than all the rest.

    Raises:
        CheckpointDamaged: When an image or a volume of it is gone. Nothing has changed then.
    """
    await _require_whole(engine, place)
    kept = await _image(engine, place.image or "")
    await unmake(engine, spec.id, keep_networks=True)
    await remove_states(engine, spec.id)
    image = f"{STATES}:{spec.id[:8]}"
    await tag(engine, place.image or "", image)
    for number, service in enumerate(sorted(place.services.values()), start=1):
        await tag(engine, service, f"{image}-{number}")
    named = {
        each.source: volumes[each.source] if each.declared else f"{_own(spec.id)}{number}"
        for number, each in enumerate(place.volumes)
    }
    extra = tuple(
        VolumeMount(source=named[each.source], target=each.target, kind="volume")
        for each in place.volumes
        if not each.declared and each.service is None
    )
    spec = spec.model_copy(update={"image": image, "mounts": (*spec.mounts, *extra)})
    set_up_for = _set_up_for(kept, spec, set(named.values()))
    container = await make(engine, spec, options, set_up_for=set_up_for, ahead=ahead)
    copies = [Copy(each.copy_name, named[each.source], _labels(spec, each)) for each in place.volumes]
    # After the container: making it gives empty volumes to its user, and these have owners already.
    await copy_volumes(engine, copies, image=place.image or "", key=place.key)
    return container


def _set_up_for(kept: _Image, spec: InstanceSpec, copied: Collection[str]) -> str | None:
    """Return the user for whom an image needs no setting up: it was kept of this very workspace, and its volumes are copies.

    Putting files into a container takes the engine longer than making it.
    """
    if spec.remote_user is not None:
        return None  # whose home folder may be another by now
    config = kept.config or {}
    labels, own = config.get("Labels") or {}, own_labels(spec)
    if any(labels.get(label) != own.get(label) for label in (LABEL_WORKSPACE, LABEL_REPOSITORY)):
        return None
    if any(mount.kind == "volume" and mount.source not in copied for mount in spec.mounts):
        return None
    return config.get("User") or None


def _labels(spec: InstanceSpec, volume: VolumeCopy) -> Mapping[str, str]:
    if volume.declared or volume.service is None:
        return own_labels(spec)
    return {**own_labels(spec), LABEL_SERVICE: volume.service, LABEL_TARGET: volume.target}


async def _require_whole(engine: Engine, place: KeptPlace) -> None:
    """Make sure that everything is there, and that it is what was kept under this key: the note of it may come with a clone."""
    images = {
        image.id
        for image in await list_tagged(engine, REPOSITORY)
        if any(_key(name) == place.key for name in image.tags_of(REPOSITORY))
    }
    for image in (place.image, *place.services.values()):
        if image not in images:
            raise _damaged(place, f"the image {image}")
    for volume in place.volumes:
        ours = volume.copy_name.startswith(f"{_VOLUME_PREFIX}{place.key}-")
        if not ours or not await has_volume(engine, volume.copy_name):
            raise _damaged(place, f"the copy of volume {volume.source} ({volume.copy_name})")


def _damaged(place: KeptPlace, what: str) -> CheckpointDamaged:
    return CheckpointDamaged(
        f"the checkpoint {place.key} is not whole any more: somebody removed {what} from the engine",
        hint="its tree is still there: a fork of another checkpoint, or 'git checkout <its ref> -- .', brings files back",
        details={"checkpoint": place.key},
    )


async def drop_place(engine: Engine, key: CheckpointId) -> None:
    """Remove everything that is kept under a key; containers that were made from it keep their images under names of their own.

    Raises:
        StateConflict: When a volume is in use by somebody else's container.
    """
    for listed in await list_containers(engine, {LABEL_COPYING: str(key)}, copying=True):
        await remove_container(engine, listed.id)
    for found in await list_tagged(engine, REPOSITORY):
        for name in found.tags_of(REPOSITORY):
            if _key(name) == key:
                await untag(engine, name)
    for volume in await _kept_volumes(engine, {LABEL_CHECKPOINT: str(key)}):
        try:
            async with engine.stream("remove a volume", "DELETE", f"volumes/{volume.name}", deadline=_DEADLINE):
                pass
        except EngineRefused as exc:
            if exc.status == 404:
                continue
            if exc.status != 409:
                raise
            raise StateConflict(
                f"volume {volume.name} of the checkpoint {key} is in use by a container",
                hint="remove that container first",
                details={"state": "in use", "allowed": []},
            ) from exc


def _key(name: str) -> CheckpointId:
    return CheckpointId(name.partition(":")[2].partition("-")[0])


async def kept_places(engine: Engine, labels: Mapping[str, str]) -> dict[CheckpointId, Mapping[str, str]]:
    """Return what is kept, with its labels."""
    found: dict[CheckpointId, Mapping[str, str]] = {}
    for volume in await _kept_volumes(engine, {LABEL_CHECKPOINT: "", **labels}):
        theirs = volume.labels or {}
        found[CheckpointId(theirs[LABEL_CHECKPOINT])] = theirs
    for image in await list_tagged(engine, REPOSITORY, labels):
        for name in image.tags_of(REPOSITORY):
            found[_key(name)] = image.labels or {}
    for listed in await list_containers(engine, {LABEL_TRIAL: "", **labels}, copying=True):
        found[CheckpointId((listed.labels or {})[LABEL_COPYING])] = listed.labels or {}
    return found


async def _kept_volumes(engine: Engine, labels: Mapping[str, str]) -> tuple[_Volume, ...]:
    wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
    params = {"filters": json.dumps({"label": wanted})}
    async with engine.stream("list volumes", "GET", "volumes", params=params, deadline=_DEADLINE) as reply:
        found = parse(_Volumes, await reply.json(content_type=None))
    # The name has to be ours as well: a label says what anybody has written.
    return tuple(volume for volume in found.volumes or () if volume.name.startswith(_VOLUME_PREFIX))


async def volumes_of_service(engine: Engine, identifier: str, service: str) -> tuple[VolumeMount, ...]:
    """Return the volumes that were made for a service because its image asked for them, as mounts."""
    wanted = [f"{LABEL_WORKSPACE}={identifier}", f"{LABEL_SERVICE}={service}", LABEL_TARGET]
    params = {"filters": json.dumps({"label": wanted})}
    async with engine.stream("list volumes", "GET", "volumes", params=params, deadline=_DEADLINE) as reply:
        found = parse(_Volumes, await reply.json(content_type=None))
    return tuple(
        VolumeMount(source=volume.name, target=(volume.labels or {})[LABEL_TARGET], kind="volume")
        for volume in found.volumes or ()
    )
