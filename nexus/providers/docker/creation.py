"""Making and removing what a workspace has on the engine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from nexus.errors import CleanupError, InvalidArgument, NexusError, ProviderError
from nexus.models.ids import WorkspaceId
from nexus.models.instances import LABEL_SERVICE, LABEL_WORKSPACE, InstanceRef, InstanceSpec
from nexus.providers.docker.ahead import Ahead
from nexus.providers.docker.client import Answer, Engine, EngineInfo, parse
from nexus.providers.docker.container_config import (
    Identity,
    choose_identity,
    choose_user,
    container_body,
    container_name,
    own_labels,
)
from nexus.providers.docker.facts import LABEL_COPYING, Container
from nexus.providers.docker.failures import EngineRefused, network_missing
from nexus.providers.docker.finding import find_container, list_containers, list_users
from nexus.providers.docker.images import check_reference, missing
from nexus.providers.docker.named_user import ensure_named
from nexus.providers.docker.networks import Chosen, ensure_network, remove_network, remove_networks
from nexus.providers.docker.options import DockerOptions
from nexus.providers.docker.setup_archive import setup_archive
from nexus.providers.docker.shielding import finish, make_or_unmake

_DEADLINE: Final = 60.0
_REMOVE_DEADLINE: Final = 120.0
_UNDO_LIMIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Made:
    """What one call has made so far, to be undone by it alone."""

    network: str | None = None
    container: str | None = None


class _Volume(Answer):
    name: str


class _Volumes(Answer):
    volumes: tuple[_Volume, ...] | None = None


def identity_of(options: DockerOptions, info: EngineInfo) -> Identity:
    """Return who runs inside by the settings, for this process's user."""
    return choose_identity(options.user, rootless=info.rootless, uid=os.getuid(), gid=os.getgid())


async def make(
    engine: Engine,
    spec: InstanceSpec,
    options: DockerOptions,
    *,
    set_up_for: str | None = None,
    ahead: Ahead | None = None,
    image: str | None = None,
) -> str:
    """Make a workspace's network and container, stopped, and return the container's id.

    One that is there already is returned. Failed or cancelled: what this call made is removed again.

    Args:
        engine: The engine.
        spec: The workspace.
        options: The backend's settings.
        set_up_for: The user for whom home folder, links and volumes are in the image or come later; they are not made for that one.
        ahead: Its network, when that is somebody else's to make. It need not be there before the container is started.
        image: The image in which the user has the ids, when that is known to be there.

    Raises:
        ImageNotFound: When the image is not on the engine.
        BuildFailed: When the image has no such user, or nothing to give it the ids with.
        InvalidArgument: When a mount, a link or the image's name cannot be used.
    """
    if spec.image is None:
        raise InvalidArgument("a docker workspace needs an image", hint="set defaults.image, or a dockerfile")
    check_reference(spec.image)
    info = await engine.info()
    identity = choose_user(identity_of(options, info), spec.remote_user)
    ref = InstanceRef(id=spec.id, name=spec.name)
    # Of one whose network is only just being made there is no container yet, or its name tells.
    found = await find_container(engine, ref) if ahead is None else None
    if found is not None:
        return await _complete(engine, found, spec, identity)
    await asyncio.to_thread(_refuse_links, spec)
    if image is None and spec.remote_user is not None and identity.user is not None:
        image = await ensure_named(engine, spec.image, spec.remote_user, identity)
    made = _Made()
    try:
        chosen = await _network(engine, spec, options, ahead)
        made = _Made(network=chosen.made)
        body = container_body(spec, options, info, identity, network=chosen.name, image=image)
        try:
            number = await _create_ahead(engine, spec, body, ahead)
        except EngineRefused as exc:
            other = await find_container(engine, ref) if exc.status == 409 else None
            if other is None:
                raise
            if chosen.made is not None:
                await remove_network(engine, chosen.made)  # another process was faster, and uses its own
            return await _complete(engine, other, spec, identity)
        made = _Made(network=chosen.made, container=number)
        if not await has_shell(engine, number):
            await remove_container(engine, number)
            made = _Made(network=chosen.made)
            bare = container_body(spec, options, info, identity, network=chosen.name, image=image, shell=False)
            number = await _create_bare(engine, spec, bare)
            made = _Made(network=chosen.made, container=number)
        if set_up_for is None or set_up_for != identity.user:
            await _set_up(engine, number, spec, identity)
    except BaseException:
        await finish(_undo(engine, spec, made), limit=_UNDO_LIMIT)
        raise
    return number


async def _network(engine: Engine, spec: InstanceSpec, options: DockerOptions, ahead: Ahead | None) -> Chosen:
    if ahead is not None:
        return Chosen(ahead.network)
    return await ensure_network(engine, options, name=spec.name, number=spec.id, labels=own_labels(spec))


async def _create_ahead(engine: Engine, spec: InstanceSpec, body: dict[str, JsonValue], ahead: Ahead | None) -> str:
    """Create the container, if the engine lets us before it has the network: Docker looks for that when the container starts."""
    try:
        return await _create(engine, spec, body)
    except EngineRefused as exc:
        if ahead is None or not network_missing(exc):
            raise
        await ahead.settled.wait()
        return await _create(engine, spec, body)


def _refuse_links(spec: InstanceSpec) -> None:
    """Refuse a shadow over a symbolic link: the engine would lay it where the link leads, and leave the link itself to be replaced."""
    for mount in spec.mounts:
        if mount.kind == "bind" and mount.read_only and Path(mount.source).is_symlink():
            raise InvalidArgument(
                f"{mount.source} is a symbolic link, so it cannot be kept from being replaced inside",
                hint="put the real file or folder in its place, or use a backend that mounts nothing",
                details={"path": mount.source},
            )


async def _create(engine: Engine, spec: InstanceSpec, body: dict[str, JsonValue]) -> str:
    try:
        return await make_or_unmake(
            _post(engine, spec, body), lambda number: remove_container(engine, number), limit=2 * _DEADLINE
        )
    except EngineRefused as exc:
        host = body["HostConfig"]
        if "storage-opt" in exc.text and isinstance(host, dict) and "StorageOpt" in host:
            # The driver could, but its file system was mounted without quotas.
            without = {key: value for key, value in host.items() if key != "StorageOpt"}
            return await _create(engine, spec, {**body, "HostConfig": without})
        if exc.status == 404 and "image" in exc.text.lower():
            raise missing(spec.image or "") from exc
        if exc.status == 400 and "bind source path does not exist" in exc.text:
            raise InvalidArgument(f"a folder to mount does not exist: {exc.text}") from exc
        raise


async def _post(engine: Engine, spec: InstanceSpec, body: dict[str, JsonValue]) -> str:
    async with engine.busy_door("create the container", deadline=_DEADLINE) as docker:
        return str((await docker.containers.create(body, name=container_name(spec.name, spec.id))).id)


async def _complete(engine: Engine, found: Container, spec: InstanceSpec, identity: Identity) -> str:
    """Finish a container that another call made: that one may have been cut short after the creation."""
    if found.state.status == "created":
        await _set_up(engine, found.id, spec, identity)
    return found.id


async def has_shell(engine: Engine, number: str) -> bool:
    """Return whether a container's image has ``/bin/sh``."""
    params = {"path": "/bin/sh"}
    try:
        async with engine.stream("look for a shell", "HEAD", f"containers/{number}/archive", params=params):
            return True
    except EngineRefused as exc:
        if exc.status == 404:
            return False
        raise


async def _create_bare(engine: Engine, spec: InstanceSpec, body: dict[str, JsonValue]) -> str:
    """Create the container with its image's own command: nothing of ours can run in it."""
    try:
        return await _create(engine, spec, body)
    except EngineRefused as exc:
        if "no command specified" in exc.text.lower():
            raise ProviderError(
                f"image {spec.image} has neither /bin/sh nor a command of its own, so nothing can keep a workspace alive",
                hint="use an image with a shell, or give it an ENTRYPOINT that stays",
                details={"image": spec.image},
            ) from exc
        raise


async def _set_up(engine: Engine, number: str, spec: InstanceSpec, identity: Identity) -> None:
    """Put the home folder and the links in, and give fresh volumes to the user inside."""
    folders = [identity.home] if identity.home is not None else []
    if identity.user is not None and identity.uid != 0:
        folders += [mount.target for mount in spec.mounts if mount.kind == "volume" and not mount.read_only]
    if not folders and not spec.links:
        return
    archive = setup_archive(folders=folders, links=spec.links, uid=identity.uid, gid=identity.gid)
    headers = {"Content-Type": "application/x-tar"}
    async with engine.stream(
        "set the container up",
        "PUT",
        f"containers/{number}/archive",
        params={"path": "/"},
        data=archive,
        headers=headers,
        deadline=_DEADLINE,
    ):
        pass


async def _undo(engine: Engine, spec: InstanceSpec, made: _Made) -> None:
    try:
        if made.container is None:
            # A request that was cut off may still have made one; nobody else can have under this id and name.
            found = (
                await find_container(engine, InstanceRef(id=spec.id, name=spec.name))
                if made.network is not None
                else None
            )
            if found is not None and found.state.status == "created":
                await remove_container(engine, found.id)
        else:
            await remove_container(engine, made.container)
        if made.network is not None:
            await remove_network(engine, made.network)
    except NexusError:
        # The error that led here is the one to tell. What is left carries our labels and goes with a destroy.
        return


async def remove_container(engine: Engine, number: str) -> None:
    """Remove a container in whatever state, with its nameless volumes, and wait until it is gone. None there: nothing."""
    try:
        async with engine.door("remove the container", deadline=_REMOVE_DEADLINE) as docker:
            await docker.containers.container(number).delete(force=True, v=True)
    except EngineRefused as exc:
        if exc.status == 404:
            return
        if exc.status != 409 or "already in progress" not in exc.text:
            raise
        await _await_removal(engine, number)


async def _await_removal(engine: Engine, number: str) -> None:
    async with asyncio.timeout(_REMOVE_DEADLINE):
        while True:
            try:
                async with engine.door("look at a container") as docker:
                    await docker.containers.container(number).show()
            except EngineRefused as exc:
                if exc.status == 404:
                    return
                raise
            await asyncio.sleep(0.05)


async def unmake(
    engine: Engine, number: WorkspaceId, *, keep_volumes: bool = False, keep_networks: bool = False
) -> tuple[str, ...]:
    """Remove every container, network and volume that carries a workspace's label; return the containers' ids.

    Args:
        engine: The engine.
        number: The workspace.
        keep_volumes: Whether the volumes stay.
        keep_networks: Whether the networks stay, for what is made in its place.

    Raises:
        CleanupError: When a volume is in use by somebody else's container.
    """
    found = await list_containers(engine, {LABEL_WORKSPACE: number}, services=True)
    # Its own container goes last: as long as that one is there, what is left is found by everybody.
    found.sort(key=lambda listed: LABEL_SERVICE not in (listed.labels or {}))
    containers = tuple(listed.id for listed in found)
    for container in containers:
        await remove_container(engine, container)
    if not keep_networks:
        await remove_networks(engine, number)
    if not keep_volumes:
        await _remove_volumes(engine, number)
    return containers


async def _remove_volumes(engine: Engine, number: WorkspaceId) -> None:
    params = {"filters": json.dumps({"label": [f"{LABEL_WORKSPACE}={number}"]})}
    async with engine.stream("list volumes", "GET", "volumes", params=params, deadline=_DEADLINE) as reply:
        found = parse(_Volumes, await reply.json(content_type=None))
    left = [volume.name for volume in found.volumes or () if not await _remove_volume(engine, volume.name)]
    if left:
        await _remove_late(engine, number, left)
        left = [name for name in left if not await _remove_volume(engine, name)]
    if left:
        raise CleanupError(
            f"volumes are in use by other containers: {', '.join(left)}",
            hint="remove those containers, then destroy again",
            details={"left": left},
        )


async def _remove_volume(engine: Engine, name: str) -> bool:
    """Remove a volume; say whether it is gone, which it is not while a container uses it."""
    try:
        async with engine.stream("remove a volume", "DELETE", f"volumes/{name}", deadline=_DEADLINE):
            return True
    except EngineRefused as exc:
        if exc.status not in {404, 409}:
            raise
        return exc.status == 404


async def _remove_late(engine: Engine, number: WorkspaceId, volumes: Sequence[str]) -> None:
    """Remove what a killed process has left at work on a workspace's volumes: what copies them, and what the engine made afterwards.

    Nobody else does either while the workspace is ours.
    """
    for user in await list_users(engine, volumes):
        labels = user.labels or {}
        if LABEL_COPYING in labels or labels.get(LABEL_WORKSPACE) == number:
            await remove_container(engine, user.id)
