"""A workspace's container together with the containers of its services, which share its network."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Final

import aiohttp
from pydantic import JsonValue

from nexus.abc import ProcessHandle, ProgressCallback
from nexus.errors import (
    InvalidArgument,
    ProviderUnavailable,
    ServiceFailed,
    ServiceNotFound,
    WorkspaceStopped,
)
from nexus.models.execution import SpawnRequest
from nexus.models.instances import LABEL_SERVICE, LABEL_WORKSPACE, InstanceRef
from nexus.models.services import ServiceSpec, ServiceStatus
from nexus.providers.docker.client import Answer, parse
from nexus.providers.docker.creation import has_shell, remove_container
from nexus.providers.docker.exec_stream import FrameDecoder
from nexus.providers.docker.facts import Listed
from nexus.providers.docker.failures import EngineRefused, not_running
from nexus.providers.docker.finding import list_containers
from nexus.providers.docker.images import check_reference, ensure_build, ensure_image, missing
from nexus.providers.docker.instance import DockerInstance
from nexus.providers.docker.keeping import volumes_of_service
from nexus.providers.docker.prepared import ShellPool
from nexus.providers.docker.secret_files import feed
from nexus.providers.docker.service_config import (
    LABEL_FINGERPRINT,
    Own,
    container_name,
    fingerprint,
    in_tree,
    moment,
    read_status,
    service_body,
    tree_links,
    verdict,
)
from nexus.providers.docker.service_freezing import ServiceFreezer
from nexus.providers.docker.service_gate import FOLDER as GATE
from nexus.providers.docker.service_gate import check_names, gate, hand_out, handed, no_shell
from nexus.providers.docker.setup_archive import setup_archive
from nexus.providers.docker.shared import Shared
from nexus.providers.docker.shielding import make_or_unmake
from nexus.providers.docker.spawning import Place, Site, spawn
from nexus.providers.docker.states import use_state, waiting_state

_DEADLINE: Final = 60.0
_START_DEADLINE: Final = 120.0
_STALE_GRACE: Final = 10.0
"""Seconds for a service whose workspace was started again without it."""
_BUILD_LABELS: Final = {"dev.nexus.image": "build"}


class _ImageConfig(Answer):
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None


class _Image(Answer):
    id: str
    config: _ImageConfig = _ImageConfig()


class ServedInstance(DockerInstance):
    """Implements ``SupportsServices`` on top of a workspace's container.

    Each service is a container of its own. It joins the network of the workspace's container, so that ``localhost`` means the
    same to all of them, and the names of the services are in the hosts file that they share.
    """

    def __init__(self, shared: Shared, ref: InstanceRef) -> None:
        super().__init__(shared, ref)
        self._freezer = ServiceFreezer(shared, self._listed)

    async def services(self) -> tuple[ServiceStatus, ...]:
        """Return the services that were made, by name. One question to the engine."""
        return tuple(read_status(listed) for listed in await self._listed())

    async def _listed(self, name: str = "") -> list[Listed]:
        labels = {LABEL_WORKSPACE: str(self._ref.id), LABEL_SERVICE: name}
        found = await list_containers(self._engine, labels, services=True)
        if not name:
            self._freezer.note(found)
        return sorted(found, key=lambda listed: (listed.labels or {}).get(LABEL_SERVICE, ""))

    async def _of(self, name: str) -> Listed:
        found = await self._listed(name) if name else []
        if not found:
            raise ServiceNotFound(
                f"workspace {self._name!r} has no service {name!r} that was started",
                hint="'boulder ws show' names its services",
                details={"service": name},
            )
        return found[0]

    async def prepare_service(self, service: ServiceSpec, *, progress: ProgressCallback | None = None) -> ServiceSpec:
        """Build or pull its image. The same content is built once.

        Raises:
            ImageNotFound, ImagePullFailed, BuildFailed: As they say.
            InvalidArgument: When it has neither image nor build.
        """
        options = self._shared.options
        if service.build is not None:
            image = await ensure_build(
                self._engine,
                service.build.dockerfile,
                service.build.context,
                labels=_BUILD_LABELS,
                deadline=options.build_timeout.total_seconds(),
                progress=progress,
                args=service.build.args,
                target=service.build.target,
                withheld=service.build.withheld,
            )
            return service.model_copy(update={"image": image, "build": None})
        if service.image is None:
            raise InvalidArgument(
                f"service {service.name!r} has no image to run in a container",
                hint=f"set services.{service.name}.image or services.{service.name}.build",
                details={"service": service.name},
            )
        deadline = options.pull_timeout.total_seconds()
        await ensure_image(self._engine, service.image, deadline=deadline, progress=progress)
        return service

    async def start_service(self, service: ServiceSpec, *, secrets: Mapping[str, str]) -> None:
        """Make its container run, on the network that the workspace's container has now.

        Cancelled: it is found by its label, made or not made, running or not.

        Raises:
            WorkspaceStopped: When the workspace's container does not run.
            ServiceFailed: When the engine cannot start it.
            ImageNotFound: When its image is not on the engine.
            InvalidArgument: When something that it mounts is not there.
            Unsupported: When it has secret variables, and its image no shell that could take them.
        """
        check_names(service, secrets)
        own, image = await self._own(), await self._image(service.image or "")
        wanted = fingerprint(service, image.id, own, secrets)
        gated = gate(service, image.config.entrypoint or (), image.config.cmd or ()) if secrets else None
        number = await self._run(service, own, wanted, gated)
        if secrets:
            await self._hand_out(service, number, secrets)

    async def _run(self, service: ServiceSpec, own: Own, wanted: str, gated: Mapping[str, JsonValue] | None) -> str:
        """Have its container run, and return which one it is."""
        for listed in await self._listed(service.name):
            mark = (listed.labels or {}).get(LABEL_FINGERPRINT, "")
            match verdict(listed.state, mark, wanted, stale=await self._stale(listed, own)):
                case "make":
                    self._freezer.forget()
                    await remove_container(self._engine, listed.id)
                case "keep":
                    if listed.state == "paused":
                        await self._freezer.let_go(listed.id)
                    return listed.id
                case "restart":
                    await self._stop_container(listed, _STALE_GRACE)
                    return await self._start_container(service, listed.id)
                case "start":
                    return await self._start_container(service, listed.id)
        return await self._start_container(service, await self._make(service, own, wanted, gated))

    async def _hand_out(self, service: ServiceSpec, number: str, secrets: Mapping[str, str]) -> None:
        """Give its gate the variables; nothing happens where it has them already."""
        site = self._site(Place(number, "/", True))
        try:
            process = await spawn(site, hand_out())
            status = await feed(process, handed(secrets))
        except EngineRefused as exc:
            if not_running(exc, service.name) is None:
                raise
            return  # it has ended: whoever waits for it says so, with its log
        if status != 0:
            raise ServiceFailed(
                f"service {service.name!r} did not take its secret variables (status {status})",
                service=service.name,
                hint="see its log; its image needs a shell, sleep, cat, mv and rm, and its user must not change between starts",
            )

    async def _stale(self, listed: Listed, own: Own) -> bool:
        if listed.state not in {"running", "restarting", "paused"}:
            return False
        async with self._engine.door("look at a service") as docker:
            described = parse(Own, await docker.containers.container(listed.id).show())
        return moment(described.state.started_at) < moment(own.state.started_at)

    async def _own(self) -> Own:
        number = await self._container()
        async with self._engine.door("look at the container") as docker:
            own = parse(Own, await docker.containers.container(number).show())
        if own.state.status != "running":
            raise WorkspaceStopped(f"workspace {self._name!r} is not running", hint="start it first")
        return own

    async def _image(self, image: str) -> _Image:
        try:
            async with self._engine.stream(
                "look for an image", "GET", f"images/{check_reference(image)}/json"
            ) as reply:
                return parse(_Image, await reply.json(content_type=None))
        except EngineRefused as exc:
            if exc.status == 404:
                raise missing(image) from exc
            raise

    async def _make(self, service: ServiceSpec, own: Own, wanted: str, gated: Mapping[str, JsonValue] | None) -> str:
        self._freezer.forget()
        await asyncio.to_thread(_check_folders, service)
        info = await self._engine.info()
        base = (await self._image(service.image or "")).id
        began = await waiting_state(self._engine, self._ref.id, service.name, base)
        own_volumes = await volumes_of_service(self._engine, self._ref.id, service.name)
        kept = [mount for mount in own_volumes if mount.target not in {each.target for each in service.mounts}]
        body = service_body(
            service.model_copy(update={"image": began or service.image, "mounts": (*service.mounts, *kept)}),
            own,
            selinux=info.selinux,
            mark=wanted,
            gated=gated,
        )
        name = container_name(own.labels, service.name)

        async def create() -> str:
            async with self._engine.busy_door("create a service's container", deadline=_DEADLINE) as docker:
                return str((await docker.containers.create(body, name=name)).id)

        number = await make_or_unmake(create(), lambda made: remove_container(self._engine, made), limit=2 * _DEADLINE)
        if gated is not None and not await has_shell(self._engine, number):
            await remove_container(self._engine, number)
            raise no_shell(service)
        if began is not None:
            await use_state(self._engine, began)
        links = tree_links(service)
        if links or gated is not None:
            # From its second start on the folder in memory has the mode of the one that it covers.
            shared = [GATE] if gated is not None else []
            archive = setup_archive(folders=[], links=links, uid=0, gid=0, shared=shared)
            path = f"containers/{number}/archive"
            headers = {"Content-Type": "application/x-tar"}
            async with self._engine.stream(
                "set a service up", "PUT", path, params={"path": "/"}, data=archive, headers=headers, deadline=_DEADLINE
            ):
                pass
        return number

    async def _start_container(self, service: ServiceSpec, number: str) -> str:
        try:
            async with self._engine.busy_door("start a service", deadline=_START_DEADLINE) as docker:
                await docker.containers.container(number).start()
        except EngineRefused as exc:
            raise ServiceFailed(
                f"service {service.name!r} could not be started: {exc.text}",
                service=service.name,
                hint="see its command, entrypoint, user and working_dir",
            ) from exc
        return number

    async def stop_service(self, name: str, *, grace: float) -> None:
        """End its container's processes. Paused: it goes on for as long as it takes to end."""
        for listed in await self._listed(name):
            if listed.state in {"running", "restarting", "paused"}:
                await self._stop_container(listed, grace)

    async def _stop_container(self, listed: Listed, grace: float) -> None:
        seconds = math.ceil(max(0.0, grace))
        try:
            if listed.state == "paused":
                await self._freezer.let_go(listed.id)
            async with self._engine.door("stop a service", deadline=seconds + _DEADLINE) as docker:
                await docker.containers.container(listed.id).stop(t=seconds)
        except EngineRefused as exc:
            if exc.status not in {304, 404}:
                raise

    async def remove_service(self, name: str) -> None:
        """Remove its container; named volumes stay."""
        self._freezer.forget()
        for listed in await self._listed(name):
            await remove_container(self._engine, listed.id)

    async def pause_services(self, names: Collection[str] | None = None) -> None:
        """Freeze the containers of services that run, all at once."""
        await self._freezer.freeze(names)

    async def resume_services(self, names: Collection[str] | None = None) -> None:
        """Let the containers of services go on that are frozen, all at once."""
        await self._freezer.thaw(names)

    async def spawn_in_service(self, name: str, request: SpawnRequest) -> ProcessHandle:
        """Start a command in its container.

        Raises:
            ServiceNotFound: When it has no container.
            WorkspaceStopped: When it does not run, or is paused.
            ExecStartError: When the program is not there or cannot be executed.
        """
        listed = await self._of(name)
        async with self._engine.door("look at a service") as docker:
            described = await docker.containers.container(listed.id).show()
        place = Place(
            listed.id, str(described["Config"].get("WorkingDir") or "/"), await has_shell(self._engine, listed.id)
        )
        try:
            return await spawn(self._site(place), request)
        except EngineRefused as exc:
            stopped = not_running(exc, name)
            if stopped is None:
                raise
            raise WorkspaceStopped(
                f"service {name!r} of workspace {self._name!r} does not run",
                hint="start the workspace, and see the service's log",
            ) from exc

    def _site(self, place: Place) -> Site:
        """Return what starting a command there takes. No shells are kept ready where people only look in now and then."""
        gate = self._shared.gate_of(place.container)
        return Site(
            engine=self._engine,
            place=place,
            pool=ShellPool(self._engine, place.container, gate, 0),
            gate=gate,
            turn=self._shared.turn,
            keep=self._shared.processes.add,
            gone=self._shared.processes.discard,
        )

    async def service_logs(
        self, name: str, *, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Give what the service printed, in chunks.

        Raises:
            ServiceNotFound: When it has no container.
        """
        listed = await self._of(name)
        async for chunk in self._log_of(listed.id, follow=follow, tail=tail):
            yield chunk

    async def _log_of(self, number: str, *, follow: bool, tail: int | None) -> AsyncGenerator[bytes, None]:
        flags = {"stdout": "1", "stderr": "1", "follow": "1" if follow else "0"}
        params = {**flags, "tail": "all" if tail is None else str(max(0, tail))}
        decoder = FrameDecoder()
        try:
            async with self._engine.stream(
                "read a log", "GET", f"containers/{number}/logs", params=params, deadline=None if follow else _DEADLINE
            ) as reply:
                async for piece in reply.content.iter_any():
                    for _, data in decoder.feed(piece):
                        yield data
        except ProviderUnavailable as exc:
            # A container that is removed while it is followed ends the log without the proper end of the reply.
            if not (follow and isinstance(exc.__cause__, aiohttp.ClientPayloadError)):
                raise


def _check_folders(service: ServiceSpec) -> None:
    """Make sure that what is mounted is there: a link to nothing would puzzle whoever looks into the service."""
    for mount in service.mounts:
        if mount.kind == "bind" and not os.path.lexists(mount.source):
            where = "the workspace's tree" if in_tree(service, mount) else "this host"
            raise InvalidArgument(
                f"service {service.name!r} mounts {mount.source}, which is not in {where}",
                hint="make the folder, or take the volume away",
                details={"service": service.name, "path": mount.source},
            )
