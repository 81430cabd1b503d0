"""Starting, stopping, freezing and waking the services of a workspace, in the order that they depend on each other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

import anyio

from nexus.abc import Instance, ProcessHandle, ProgressCallback, SupportsPause, SupportsServices
from nexus.errors import NexusError, ServiceNotFound, Unsupported
from nexus.models.execution import SpawnRequest
from nexus.models.instances import Capability, InstanceState, InstanceStatus, ProviderInfo
from nexus.models.services import ServiceSpec
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.at_once import both, for_each
from nexus.workspace.context import Context
from nexus.workspace.records import OWN_SERVICES
from nexus.workspace.services_plan import dependents, resolve_services, updated
from nexus.workspace.services_start import Start

_UNDO_TIMEOUT: Final = 60.0


def refuse(record: WorkspaceRecord, info: ProviderInfo) -> None:
    """Refuse services that the backend cannot run, before anything is made.

    Raises:
        Unsupported: When it runs none, or has neither images nor mounts and a service needs them.
    """
    if not record.services or not info.available:
        return
    details = {"capability": str(Capability.SERVICES), "provider": record.backend}
    if Capability.SERVICES not in info.capabilities:
        raise Unsupported(
            f"the {record.backend} backend cannot run services, and the configuration has {_names(record.services)}",
            hint="use the docker backend, or take a service away for this workspace with --set services.<name>=null",
            details=details,
        )
    if Capability.ISOLATION in info.capabilities:
        return
    for service in record.services:
        reason = "has no command, and there are no images" if service.command is None else ""
        if service.mounts:
            reason = reason or "has volumes, and there are no mounts"
        if reason:
            raise Unsupported(
                f"service {service.name!r} {reason} on the {record.backend} backend: it runs services as plain processes",
                hint=f"give it a command that runs on this host, use the docker backend, or leave it out with "
                f"--set services.{service.name}=null",
                details={**details, "service": service.name},
            )


def refreshed(context: Context, record: WorkspaceRecord, report: ProgressCallback) -> WorkspaceRecord:
    """Return the record with its services as the configuration describes them now, for a workspace that is about to start.

    One whose services were given when it was created keeps those.
    """
    if not record.services or record.config.get(OWN_SERVICES):
        return record
    configured = resolve_services(context.settings.services, worktree=record.worktree_path, identifier=record.id)
    services, notes = updated(record.services, configured)
    for note in notes:
        report("services", note)
    return record if services == record.services else record.model_copy(update={"services": services})


def _names(services: Sequence[ServiceSpec]) -> str:
    return ", ".join(repr(service.name) for service in services)


async def up(context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback) -> None:
    """Have every service running and ready. None configured: nothing. The caller holds the workspace's lock; its place runs.

    When one fails, all of them and the workspace's place are stopped again.

    Raises:
        ServiceFailed: When one cannot be started, ends, or does not become healthy; the error holds what it printed last.
        ImageNotFound, ImagePullFailed, BuildFailed, Unsupported: As they say.
    """
    if not record.services:
        return
    try:
        await Start(context, record, _served(record, instance), instance, report).run()
    except BaseException as error:
        if isinstance(error, NexusError):
            with anyio.CancelScope(shield=True), anyio.move_on_after(_UNDO_TIMEOUT):
                await _take_down(context, record, instance, error)
        raise


async def _take_down(context: Context, record: WorkspaceRecord, instance: Instance, error: NexusError) -> None:
    try:
        await down(context, record, instance, grace=context.backends.stop_grace(record.backend))
        await instance.stop(grace=context.backends.stop_grace(record.backend))
    except NexusError as left:
        error.add_note(f"and what had started could not be stopped: {left.message}")


async def mend(context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback) -> None:
    """Start again what has ended or is not there, beside a workspace that runs."""
    if not record.services:
        return
    await Start(context, record, _served(record, instance), instance, report).run()


async def down(context: Context, record: WorkspaceRecord, instance: Instance, *, grace: float) -> None:  # noqa: ARG001
    """End every service, each after those that depend on it. None there: nothing. Works while they are frozen."""
    if not record.services or not isinstance(instance, SupportsServices):
        return
    served: SupportsServices = instance
    ended = {service.name: anyio.Event() for service in record.services}
    before = dependents(record.services)

    async def stop(name: str) -> None:
        for other in before.get(name, ()):
            await ended[other].wait()
        await served.stop_service(name, grace=grace)
        if name in ended:
            ended[name].set()

    names = {*ended, *(status.name for status in await served.services())}
    await for_each(stop, sorted(names))


async def freeze(record: WorkspaceRecord, instance: SupportsPause) -> None:
    """Freeze a workspace's place and its services, at once."""
    await _beside(record, instance, instance.pause, lambda served, names: served.pause_services(names))


async def thaw(record: WorkspaceRecord, instance: SupportsPause) -> None:
    """Let a workspace's place and its services go on, at once."""
    await _beside(record, instance, instance.resume, lambda served, names: served.resume_services(names))


async def _beside(
    record: WorkspaceRecord,
    instance: SupportsPause,
    own: Callable[[], Awaitable[None]],
    theirs: Callable[[SupportsServices, frozenset[str]], Awaitable[None]],
) -> None:
    """Do something to a workspace's place and, where it has any, to its services: it takes as long as the slowest of them."""
    if not record.services or not isinstance(instance, SupportsServices):
        await own()
        return
    served: SupportsServices = instance

    async def on_services() -> None:
        await theirs(served, frozenset(service.name for service in record.services))

    await both(own, on_services)


async def look(context: Context, record: WorkspaceRecord, seen: InstanceStatus) -> InstanceStatus:
    """Return what is seen of a workspace with what is seen of its services, where that is not known yet."""
    if not record.services or seen.services or seen.state in {InstanceState.UNKNOWN, InstanceState.GONE}:
        return seen
    try:
        instance = await context.backends.instance(record)
        found = await instance.services() if isinstance(instance, SupportsServices) else ()
    except NexusError:
        return seen  # a backend that falls silent between two questions has said what it could
    return seen.model_copy(update={"services": found})


async def spawn(record: WorkspaceRecord, instance: Instance, service: str, request: SpawnRequest) -> ProcessHandle:
    """Start a command where a service runs.

    Raises:
        ServiceNotFound: When the workspace has no such service.
    """
    return await _served_with(record, instance, service).spawn_in_service(service, request)


async def logs(
    record: WorkspaceRecord, instance: Instance, service: str, *, follow: bool, tail: int | None
) -> AsyncGenerator[bytes, None]:
    """Give what a service printed.

    Raises:
        ServiceNotFound: When the workspace has no such service.
    """
    served = _served_with(record, instance, service)
    async with aclosing(served.service_logs(service, follow=follow, tail=tail)) as chunks:
        async for chunk in chunks:
            yield chunk


def _served(record: WorkspaceRecord, instance: Instance) -> SupportsServices:
    if not isinstance(instance, SupportsServices):
        raise Unsupported(
            f"the {record.backend} backend cannot run services",
            details={"capability": str(Capability.SERVICES), "provider": record.backend},
        )
    return instance


def _served_with(record: WorkspaceRecord, instance: Instance, service: str) -> SupportsServices:
    known = [each.name for each in record.services]
    if service not in known:
        raise ServiceNotFound(
            f"workspace {record.name!r} has no service {service!r}",
            hint=f"it has {', '.join(known)}" if known else "services are named in .nexus/config.yaml",
            details={"service": service},
        )
    return _served(record, instance)
