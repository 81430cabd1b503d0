"""Capability ``services``: programs that run beside a workspace, and the volumes that outlive them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Protocol, runtime_checkable

from nexus.abc.provider import ProcessHandle, ProgressCallback
from nexus.models.execution import SpawnRequest
from nexus.models.instances import InstanceRef
from nexus.models.services import KeptVolume, ServiceSpec, ServiceStatus


@runtime_checkable
class SupportsServices(Protocol):
    """Runs programs beside an instance. They share its network: ``localhost`` and every service's name mean the same to all.

    Which of them start when, and what a failure means, is decided by the caller; each call here is about one service, or about all
    that are there. ``Instance.stop`` and ``Provider.destroy`` end them too when nobody has done it before.
    """

    async def services(self) -> tuple[ServiceStatus, ...]:
        """Return those that were made, by name, as they are now. An instance that was removed has none."""

    async def prepare_service(self, service: ServiceSpec, *, progress: ProgressCallback | None = None) -> ServiceSpec:
        """Have everything slow ready: pull or build its image. Returns the service to start.

        Raises:
            ImageNotFound, ImagePullFailed, BuildFailed: As they say.
        """

    async def start_service(self, service: ServiceSpec, *, secrets: Mapping[str, str]) -> None:
        """Make it run as it is described; one that was made from another description is made again, its volumes stay.

        Running already: nothing. Cancelled: it may or may not run.

        Args:
            service: What to run.
            secrets: More variables for it, which are written nowhere that others can read.

        Raises:
            WorkspaceStopped: When the instance does not run.
            ServiceFailed: When it cannot be started.
            Unsupported: When the backend cannot do what it asks for.
        """

    async def stop_service(self, name: str, *, grace: float) -> None:
        """End it: TERM, ``grace`` seconds, KILL. Not running, or not there: nothing. Works on a paused one."""

    async def remove_service(self, name: str) -> None:
        """End and forget it; named volumes stay. Not there: nothing."""

    async def pause_services(self, names: Collection[str] | None = None) -> None:
        """Freeze those that run. A backend whose ``pause`` freezes them with the instance does nothing here.

        Args:
            names: The services that there are, for a caller who knows: a backend that has seen all of these need not look for others.
        """

    async def resume_services(self, names: Collection[str] | None = None) -> None:
        """Let those go on that are frozen; ``names`` as for :meth:`pause_services`."""

    async def spawn_in_service(self, name: str, request: SpawnRequest) -> ProcessHandle:
        """Start a command where the service runs; otherwise as ``Instance.spawn``.

        Raises:
            NotFound: When there is no such service.
        """

    def service_logs(self, name: str, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes, None]:
        """Give what it printed, in chunks: the last ``tail`` lines or all; with ``follow`` until it ends.

        Raises:
            NotFound: When there is no such service.
        """


@runtime_checkable
class SupportsVolumes(Protocol):
    """On a provider: named volumes can be kept when their instance is destroyed."""

    async def destroy_but_volumes(self, ref: InstanceRef) -> tuple[str, ...]:
        """Do what ``destroy`` does, but keep named volumes; return their names."""

    async def volumes(self, labels: Mapping[str, str] | None = None) -> tuple[KeptVolume, ...]:
        """Return every named volume of ours that carries all these labels."""

    async def remove_volume(self, name: str) -> None:
        """Remove a volume of ours. Not there: nothing.

        Raises:
            StateConflict: When a container uses it, or it is not ours.
        """
