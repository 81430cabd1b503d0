"""Looking: one workspace or all of them, with the status that the providers report now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import anyio

from nexus.errors import NexusError
from nexus.models.ids import WorkspaceId
from nexus.models.instances import LABEL_REPOSITORY, InstanceState, InstanceStatus
from nexus.models.requests import ListFilter
from nexus.models.rescues import DestroyedWorkspace
from nexus.models.workspace import ListEntry, WorkspaceInfo, WorkspaceRecord, WorkspaceStatus
from nexus.workspace import services_life
from nexus.workspace.context import Context
from nexus.workspace.records import reference, view

LIST_TIMEOUT = 10.0
"""Seconds that one backend may take to say what it has; a silent one costs its workspaces their live status, not the list."""


async def look(context: Context, record: WorkspaceRecord) -> WorkspaceInfo:
    """Return one workspace as it is now."""
    seen = await services_life.look(context, record, await context.backends.seen(record))
    return view(record, seen, current=await context.store.current(), last_active=context.in_use.last(record.id))


async def list_all(
    context: Context, where: ListFilter | None = None, *, without: Collection[str] = ()
) -> tuple[ListEntry, ...]:
    """Return every workspace by name, each backend asked once; damaged records at the end.

    Args:
        context: The repository.
        where: Which; all when absent.
        without: Backends that need not be asked: they do not answer.
    """
    records, damaged = await context.records.all()
    current = await context.store.current()
    wanted = [record for record in records if where is None or _may_match(record, where)]
    seen = await _seen(context, wanted, without)
    infos = [
        view(record, seen[record.id], current=current, last_active=context.in_use.last(record.id)) for record in wanted
    ]
    if where is not None and where.statuses:
        infos = [info for info in infos if info.status in where.statuses]
    gone = await _destroyed(context, where, {record.id for record in records}) if where and where.destroyed else ()
    alone = where is None or where == ListFilter(destroyed=True)
    return (*infos, *(damaged if alone else ()), *gone)


async def _destroyed(context: Context, where: ListFilter, living: set[WorkspaceId]) -> tuple[DestroyedWorkspace, ...]:
    """Return what was destroyed and can be restored, the newest first. One whose destruction goes on is still alive."""
    if where.statuses and WorkspaceStatus.DESTROYED not in where.statuses:
        return ()
    return tuple(
        entry
        for entry in await context.destroyed.load_all()
        if entry.id not in living
        and where.backend in {None, entry.backend}
        and all(entry.labels.get(key) == value for key, value in where.labels.items())
    )


def _may_match(record: WorkspaceRecord, where: ListFilter) -> bool:
    if where.backend is not None and record.backend != where.backend:
        return False
    return all(record.labels.get(key) == value for key, value in where.labels.items())


async def _seen(
    context: Context, records: Sequence[WorkspaceRecord], without: Collection[str]
) -> Mapping[WorkspaceId, InstanceStatus]:
    by_backend: dict[str, list[WorkspaceRecord]] = defaultdict(list)
    for record in records:
        by_backend[record.backend].append(record)
    seen: dict[WorkspaceId, InstanceStatus] = {}

    async def ask(backend: str, owned: list[WorkspaceRecord]) -> None:
        if backend in without:
            silence = f"the {backend} backend does not answer"
            seen.update({record.id: _absent(record, InstanceState.UNKNOWN, silence) for record in owned})
        else:
            seen.update(await _ask(context, backend, owned))

    async with anyio.create_task_group() as group:
        for backend, owned in by_backend.items():
            group.start_soon(ask, backend, owned)
    return seen


async def _ask(
    context: Context, backend: str, records: Sequence[WorkspaceRecord]
) -> Mapping[WorkspaceId, InstanceStatus]:
    """Ask one backend for all its workspaces of this repository; what it does not name is gone."""
    # Not by the node's label: the registry that keeps the node's id may have been lost, and ids are unique without it.
    labels = {LABEL_REPOSITORY: str(context.repository.root)}
    try:
        with anyio.fail_after(LIST_TIMEOUT):
            provider = await context.backends.provider(backend)
            found = {status.ref.id: status for status in await provider.list(labels)}
    except (NexusError, TimeoutError) as error:
        detail = error.message if isinstance(error, NexusError) else f"the {backend} backend did not answer in time"
        return {record.id: _absent(record, InstanceState.UNKNOWN, detail) for record in records}
    seen = {record.id: found.get(record.id) or _absent(record, InstanceState.GONE, "") for record in records}
    return {record.id: await services_life.look(context, record, seen[record.id]) for record in records}


def _absent(record: WorkspaceRecord, state: InstanceState, detail: str) -> InstanceStatus:
    return InstanceStatus(ref=reference(record), state=state, detail=detail)
