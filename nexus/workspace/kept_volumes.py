"""Named volumes whose workspace was destroyed: found by their labels, listed by ``doctor``, removed by ``prune`` alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime

from nexus.abc import SupportsVolumes
from nexus.errors import NexusError, Unsupported
from nexus.models.base import Model
from nexus.models.findings import Finding
from nexus.models.instances import LABEL_NODE, LABEL_REPOSITORY
from nexus.models.services import KeptVolume
from nexus.workspace.context import Context


class Kept(Model):
    """A volume that nobody uses any more."""

    backend: str
    volume: KeptVolume
    time: datetime
    """When its workspace was destroyed; when it was made where nobody remembers that."""

    @property
    def name(self) -> str:
        """The backend's name for it."""
        return self.volume.name


async def find(context: Context, *, without: Collection[str] = ()) -> tuple[Kept, ...]:
    """Return the volumes of this repository whose workspace is no more. A backend that cannot be asked now is asked another time.

    Args:
        context: The repository.
        without: Backends that need not be asked: they do not answer.
    """
    records, damaged = await context.records.all()
    alive = {str(record.id) for record in records}
    alive |= {str(claim.id) for claim in await context.registry.claims(repository=context.repository.root)}
    names = {entry.name for entry in damaged}
    ends = {str(entry.id): entry.destroyed_at for entry in await context.destroyed.load_all()}
    found: list[Kept] = []
    for backend in context.backends.names():
        if backend in without:
            continue
        try:
            provider = await context.backends.provider(backend)
            if not isinstance(provider, SupportsVolumes):
                continue
            labels = {LABEL_NODE: context.node, LABEL_REPOSITORY: str(context.repository.root)}
            volumes = await provider.volumes(labels)
        except NexusError:
            continue
        found += [
            Kept(backend=backend, volume=volume, time=ends.get(volume.workspace) or _made(volume))
            for volume in volumes
            if volume.workspace not in alive and volume.workspace_name not in names
        ]
    return tuple(found)


async def remove(context: Context, kept: Kept) -> None:
    """Remove a volume.

    Raises:
        StateConflict: When a container uses it.
    """
    provider = await context.backends.provider(kept.backend)
    if not isinstance(provider, SupportsVolumes):
        raise Unsupported(f"the {kept.backend} backend has no volumes")
    await provider.remove_volume(kept.name)


async def findings(context: Context, *, without: Collection[str] = ()) -> AsyncGenerator[Finding, None]:
    """Name the volumes that are kept; ``without`` as for :func:`find`."""
    for kept in await find(context, without=without):
        yield Finding(
            level="info",
            check="volumes",
            message=f"volume {kept.name} of the destroyed workspace {kept.volume.workspace_name!r} is kept; 'boulder prune' removes it",
        )


def _made(volume: KeptVolume) -> datetime:
    try:
        made = datetime.fromisoformat(volume.created)
    except ValueError:
        return datetime.now(UTC)  # as young as can be: nothing goes because its age is not known
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)
