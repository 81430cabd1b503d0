"""The docker provider: makes, finds and removes the containers of workspaces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import anyio.to_thread
from pydantic import JsonValue

from nexus.abc import Instance, ProgressCallback
from nexus.errors import BuildFailed, ConfigError, ImageNotFound, NexusError, WrongLoop
from nexus.models.built_images import BuiltImage
from nexus.models.checkpoints import KeptPlace
from nexus.models.ids import CheckpointId
from nexus.models.instances import (
    LABEL_WORKSPACE,
    Capability,
    InstanceRef,
    InstanceSpec,
    InstanceStatus,
    ProviderInfo,
)
from nexus.models.prebuilds import Prebuild
from nexus.models.services import KeptVolume
from nexus.providers.docker import built, keeping, prebuilt
from nexus.providers.docker.ahead import Named
from nexus.providers.docker.client import Engine, EngineInfo, agree
from nexus.providers.docker.container_config import own_labels, shortfall
from nexus.providers.docker.creation import identity_of, make, unmake
from nexus.providers.docker.endpoint import look_around, resolve_endpoint
from nexus.providers.docker.facts import Image
from nexus.providers.docker.finding import list_containers
from nexus.providers.docker.hibernation import HibernatingInstance
from nexus.providers.docker.images import ensure_build, ensure_image, find_image
from nexus.providers.docker.named_user import ensure_named, own_user
from nexus.providers.docker.networks import list_networks, make_network, network_name
from nexus.providers.docker.options import DockerOptions, parse_options, stores_as
from nexus.providers.docker.service_config import statuses_of
from nexus.providers.docker.shared import Shared
from nexus.providers.docker.shielding import finish, single
from nexus.providers.docker.states import remove_states
from nexus.providers.docker.volumes import list_volumes, remove_volume

_PROBE_DEADLINE: Final = 0.45
"""For each of the two questions of a probe, which has a second in all."""
_CLOSE_LIMIT: Final = 60.0
_CAPABILITIES: Final = frozenset(Capability) - {Capability.KEEPING}
_BUILD_LABELS: Final = {"dev.nexus.image": "build"}


class DockerProvider:
    """Workspaces as containers of a Docker engine, or of another that speaks its API.

    The constructor only stores. It serves the event loop that opened it, which has to be asyncio's.

    Args:
        options: The ``backends.docker`` settings; see :class:`nexus.providers.docker.options.DockerOptions`.
        env: The environment to find the engine by; this process's own when absent.

    Raises:
        ConfigError: When a setting is unknown or cannot be used.
    """

    def __init__(self, options: Mapping[str, JsonValue] | None = None, *, env: Mapping[str, str] | None = None) -> None:
        self._given: Mapping[str, JsonValue] = dict(options or {})
        self._options: DockerOptions = parse_options(options)
        self._env = env
        self._shared: Shared | None = None

    @property
    def name(self) -> str:
        """The name it is registered under."""
        return "docker"

    async def __aenter__(self) -> Self:
        """Find the engine's address and make a client. Connects to nothing, so it succeeds while the engine is down.

        Raises:
            ConfigError: When an address, a context or a certificate that is named cannot be used.
        """
        if self._shared is not None:
            raise WrongLoop("the docker provider is open already", hint="make another one")
        env = self._env if self._env is not None else dict(os.environ)
        around = await anyio.to_thread.run_sync(look_around, env, os.getuid())
        engine = await Engine(resolve_endpoint(self._options.socket, around)).open()
        self._shared = Shared(engine, self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the commands that still run and close the client. The containers stay as they are."""
        shared, self._shared = self._shared, None
        if shared is not None:
            await finish(self._close(shared), limit=_CLOSE_LIMIT)

    @staticmethod
    async def _close(shared: Shared) -> None:
        try:
            await asyncio.gather(
                *(process.aclose() for process in tuple(shared.processes)),
                *(shared.drop_pool(container) for container in tuple(shared.pools)),
                return_exceptions=True,
            )
        finally:
            await shared.engine.close()

    def _open(self) -> Shared:
        if self._shared is None:
            raise WrongLoop("the docker provider is not open", hint="use it inside `async with`")
        return self._shared

    async def probe(self) -> ProviderInfo:
        """Return what the engine is and can do, within a second. Never raises for an engine that is down."""
        engine = self._open().engine
        try:
            version = await engine.known_version(deadline=_PROBE_DEADLINE)
            agree(version)
            info = await engine.info(deadline=_PROBE_DEADLINE)
            self._check_driver(info)
        except NexusError as exc:
            return ProviderInfo(name=self.name, available=False, detail=exc.message, hint=exc.hint)
        lost: frozenset[Capability] = frozenset()
        if info.rootless and info.cgroup_version == "1":
            lost = frozenset({Capability.RESOURCE_LIMITS, Capability.PAUSE})
        refusal = self._open().proof.refusal
        if not info.experimental_build or refusal is not None:
            lost |= {Capability.HIBERNATION}
        return ProviderInfo(
            name=self.name,
            available=True,
            version=version.version,
            capabilities=_CAPABILITIES - lost,
            detail=f"engine {version.version} (API {version.api_version}) at {engine.endpoint.shown}, "
            f"{info.driver} storage{'' if info.limits_storage else ' (without a limit on disk space)'}"
            f"{', rootless' if info.rootless else ''}"
            f"{'; ' + refusal.message if refusal is not None else ''}",
        )

    def _check_driver(self, info: EngineInfo) -> None:
        wanted = self._options.storage_driver
        if not stores_as(wanted, info.driver):
            raise ConfigError(
                f"backends.docker.storage_driver is {wanted}, but the engine stores with {info.driver}",
                hint="remove the setting, or change the engine's storage-driver (images and containers stay behind)",
            )

    def _options_for(self, spec: InstanceSpec) -> DockerOptions:
        return parse_options({**self._given, **spec.options}) if spec.options else self._options

    async def prepare(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> InstanceSpec:
        """Have the image ready: build it from the Dockerfile when there is one, else pull it when it is not here.

        Which user of the image runs inside is part of the answer; see :mod:`nexus.providers.docker.named_user`.

        Cancelled: a pull or build is broken off; layers that are complete stay on the engine.

        Raises:
            ImageNotFound, ImagePullFailed, BuildFailed: As they say.
            ConfigError: When the engine's storage driver is not the one that is set.
        """
        engine = self._open().engine
        options = self._options_for(spec)
        self._check_driver(await engine.info())
        if spec.dockerfile is not None:
            image = await ensure_build(
                engine,
                spec.dockerfile,
                spec.build_context,
                labels=_BUILD_LABELS,
                deadline=options.build_timeout.total_seconds(),
                progress=progress,
                args=spec.build_args,
                target=spec.build_target,
                withheld=spec.withheld,
            )
            found = await find_image(engine, image)
            return await self._with_user(spec.model_copy(update={"image": image}), found, options, progress)
        if spec.image is None:
            return spec
        found = await ensure_image(engine, spec.image, deadline=options.pull_timeout.total_seconds(), progress=progress)
        return await self._with_user(spec, found, options, progress)

    async def _with_user(
        self, spec: InstanceSpec, image: Image | None, options: DockerOptions, progress: ProgressCallback | None
    ) -> InstanceSpec:
        """Say which user of the image runs inside, and have the image in which that one has our ids."""
        shared = self._open()
        identity = identity_of(options, await shared.engine.info())
        name = spec.remote_user or own_user(None if image is None else image.config)
        if spec.image is None or image is None or identity.user is None or name is None:
            return spec
        try:
            made = await ensure_named(shared.engine, spec.image, name, identity, found=image, progress=progress)
        except BuildFailed:
            if spec.remote_user is not None:
                raise
            return spec  # nobody asked for that user: its ids alone run inside
        shared.ahead.named(spec.id, Named(spec.image, name, made))
        return spec.model_copy(update={"remote_user": name})

    async def make_ahead(self, spec: InstanceSpec) -> None:
        """Make the workspace's network: it takes the engine as long as tree and container take us.

        Cancelled or failed: it is removed again, or carries our labels.
        """
        shared, options = self._open(), self._options_for(spec)
        with shared.ahead.making(spec.id, network_name(options, spec.name, spec.id)):
            await make_network(shared.engine, options, name=spec.name, number=spec.id, labels=own_labels(spec))

    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> Instance:
        """Make the workspace's network and container, stopped. The same ``spec.id`` twice: the first one's.

        Cancelled or failed: what this call made is removed again; anything left carries our labels.

        Raises:
            ImageNotFound: When the image is not on the engine; :meth:`prepare` fetches it.
            InvalidArgument: When the specification cannot be made here.
        """
        shared = self._open()
        if progress is not None:
            progress("create", f"creating the container of {spec.name}")
            lacking = shortfall(spec.resources, await shared.engine.info())
            if lacking is not None:
                progress("create", lacking)
        options, ahead = self._options_for(spec), shared.ahead.of(spec.id)
        image = shared.ahead.image(spec.id, spec.image, spec.remote_user)
        async with shared.turn_of(spec.id):
            try:
                number = await make(shared.engine, spec, options, ahead=ahead, image=image)
            except ImageNotFound:
                if image is None:
                    raise
                number = await make(shared.engine, spec, options, ahead=ahead)  # it was removed since it was prepared
        shared.ahead.forget(spec.id)
        shared.made.add(number)
        return HibernatingInstance(shared, InstanceRef(id=spec.id, name=spec.name, handle=number))

    async def keep_place(
        self, ref: InstanceRef, key: CheckpointId, labels: Mapping[str, str], *, processes: bool = False
    ) -> KeptPlace:
        """Keep the files of a workspace's container and of its services' as images, and copy their volumes.

        Cancelled or failed: what was kept by then is removed by :meth:`drop_place`.

        Raises:
            WorkspaceGone: When there is no container.
            Unsupported: When processes are asked for; it says why not.
        """
        return await single(keeping.keep_place(self._open().engine, ref, key, labels, processes=processes))

    async def make_from(
        self,
        spec: InstanceSpec,
        place: KeptPlace,
        volumes: Mapping[str, str],
        *,
        progress: ProgressCallback | None = None,
    ) -> Instance:
        """Make the workspace's network, container and volumes from what was kept, stopped. What it had is removed first.

        Cancelled or failed: what is there carries our labels; call again, or :meth:`destroy`.

        Raises:
            CheckpointDamaged: When an image or a volume of it is gone. Nothing has changed then.
        """
        shared = self._open()
        if progress is not None:
            progress("create", f"creating the container of {spec.name} from a checkpoint")
        ahead = shared.ahead.of(spec.id)
        async with shared.turn_of(spec.id):
            for listed in await list_containers(shared.engine, {LABEL_WORKSPACE: spec.id}):
                await shared.drop_pool(listed.id)
            number = await single(
                keeping.make_from(shared.engine, spec, place, volumes, self._options_for(spec), ahead=ahead)
            )
        shared.ahead.forget(spec.id)
        return HibernatingInstance(shared, InstanceRef(id=spec.id, name=spec.name, handle=number))

    async def drop_place(self, key: CheckpointId) -> None:
        """Remove the images and volumes of a checkpoint. Workspaces that were made from it are not harmed.

        Raises:
            StateConflict: When somebody else's container uses a volume.
        """
        await keeping.drop_place(self._open().engine, key)

    async def kept_places(self, labels: Mapping[str, str] | None = None) -> Mapping[CheckpointId, Mapping[str, str]]:
        """Return the checkpoints of which the engine has anything that carries all these labels."""
        return await keeping.kept_places(self._open().engine, labels or {})

    async def attach(self, ref: InstanceRef) -> Instance:
        """Return the instance; asks nothing."""
        return HibernatingInstance(self._open(), ref)

    async def list(self, labels: Mapping[str, str] | None = None) -> tuple[InstanceStatus, ...]:
        """Return every workspace's container that carries all these labels, with what is seen of its services.

        Services and networks without their workspace's container are listed as a workspace that is gone, so that somebody removes
        them: an engine goes on with what a killed process had asked for.
        """
        engine, wanted = self._open().engine, {LABEL_WORKSPACE: "", **(labels or {})}
        listed, networks = await asyncio.gather(
            list_containers(engine, wanted, services=True), list_networks(engine, wanted)
        )
        return statuses_of(listed, networks)

    async def destroy(self, ref: InstanceRef) -> None:
        """Remove the workspace's container, network and volumes, found by its label alone. None there: nothing.

        Cancelled: some may be left; call again.
        """
        await self._remove(ref)

    async def destroy_but_volumes(self, ref: InstanceRef) -> tuple[str, ...]:
        """Remove the workspace's containers and network, and return the names of the volumes that stay.

        Cancelled: some may be left; call again.
        """
        await self._remove(ref, keep_volumes=True)
        return tuple(volume.name for volume in await self.volumes({LABEL_WORKSPACE: ref.id}))

    async def _remove(self, ref: InstanceRef, *, keep_volumes: bool = False) -> None:
        shared = self._open()
        shared.ahead.forget(ref.id)
        for container in await unmake(shared.engine, ref.id, keep_volumes=keep_volumes):
            shared.readings.pop(container, None)
            shared.made.discard(container)
            await shared.drop_pool(container)
        await remove_states(shared.engine, ref.id)

    async def volumes(self, labels: Mapping[str, str] | None = None) -> tuple[KeptVolume, ...]:
        """Return every named volume of ours that carries all these labels."""
        return await list_volumes(self._open().engine, {LABEL_WORKSPACE: "", **(labels or {})})

    async def remove_volume(self, name: str) -> None:
        """Remove a volume of ours. Not there: nothing.

        Raises:
            StateConflict: When a container uses it, or it is not ours.
        """
        await remove_volume(self._open().engine, name)

    async def image_identity(self, image: str) -> str | None:
        """Return the id of an image; ``None`` when it is not on the engine."""
        return await prebuilt.image_id(self._open().engine, image)

    async def prebuilds(self, labels: Mapping[str, str]) -> tuple[Prebuild, ...]:
        """Return the prebuilt images that carry these labels, the newest first."""
        return await prebuilt.listed(self._open().engine, labels)

    async def keep_prebuild(self, ref: InstanceRef, prebuild: Prebuild) -> Prebuild:
        """Keep a stopped workspace's own files as a prebuilt image.

        Cancelled: it is made whole, or not at all.
        """
        return await prebuilt.keep(self._open().engine, ref, prebuild)

    async def remove_prebuild(self, key: str) -> bool:
        """Remove a prebuilt image; say whether one was removed. One that a workspace began from stays as long as that."""
        return await prebuilt.remove(self._open().engine, key)

    async def built_images(self) -> tuple[BuiltImage, ...]:
        """Return the images that were built on this engine for workspaces, the oldest first."""
        return await built.list_built(self._open().engine)

    async def remove_built_image(self, name: str) -> bool:
        """Remove one of them; say whether it is gone. One that a container is made from stays."""
        return await built.remove_built(self._open().engine, name)
