"""What a workspace's place tells of itself: its log and what it uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from nexus.abc import SupportsLogs, SupportsStats
from nexus.errors import Unsupported
from nexus.models.instances import Capability, ResourceStats
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import services_life
from nexus.workspace.context import Context


async def logs(
    context: Context, record: WorkspaceRecord, *, service: str | None, follow: bool, tail: int | None
) -> AsyncGenerator[bytes, None]:
    """Give the log of the main process, or of a service, in chunks.

    Raises:
        ServiceNotFound: When there is no such service.
        Unsupported: When the backend keeps no log.
    """
    instance = await context.backends.instance(record)
    if service is not None:
        log = services_life.logs(record, instance, service, follow=follow, tail=tail)
    elif isinstance(instance, SupportsLogs):
        log = instance.logs(follow=follow, tail=tail)
    else:
        raise _unsupported(record, Capability.LOGS)
    async with aclosing(log) as chunks:
        async for chunk in chunks:
            yield chunk


async def stats(context: Context, record: WorkspaceRecord) -> ResourceStats:
    """Return what it uses now.

    Raises:
        Unsupported: When the backend cannot tell.
    """
    instance = await context.backends.instance(record)
    if not isinstance(instance, SupportsStats):
        raise _unsupported(record, Capability.STATS)
    return await instance.stats()


def _unsupported(record: WorkspaceRecord, capability: Capability) -> Unsupported:
    return Unsupported(
        f"the {record.backend} backend has no {capability}",
        details={"capability": str(capability), "provider": record.backend},
    )
