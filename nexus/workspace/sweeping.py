"""``gc``: everything of ours that no longer belongs to a workspace, and workspaces past their time. Never unsaved work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import anyio

from nexus.errors import Busy, NexusError, UnsavedWork, WorkspaceNotFound
from nexus.git import list_trash
from nexus.models.ids import WorkspaceId
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY
from nexus.models.requests import GcAction
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import destruction, kept_checkpoints, prebuilding
from nexus.workspace.context import Context
from nexus.workspace.observing import LIST_TIMEOUT
from nexus.workspace.prebuild_result import is_being_made
from nexus.workspace.recovery import holding, recover


async def sweep(context: Context, *, dry_run: bool = False, without: Collection[str] = ()) -> tuple[GcAction, ...]:
    """Settle journals, then remove claims, instances, leases and worktrees without a record, then what has expired.

    Args:
        context: The repository.
        dry_run: Only say what would be done.
        without: Backends that need not be asked: they do not answer.
    """
    actions = list(await recover(context, dry_run=dry_run, given_up=True))
    # What belongs to unsaved work stays with it: the place that a lost record is rebuilt from.
    kept = await _holding_work(context)
    actions += [action async for action in _claims(context, dry_run, kept)]
    actions += [action async for action in _instances(context, dry_run, kept, without)]
    actions += [action async for action in kept_checkpoints.sweep(context, dry_run=dry_run, without=without)]
    for part in (_worktrees, _leases, _prebuilds, _expired, _trash):
        actions += [action async for action in part(context, dry_run)]
    return tuple(actions)


async def _holding_work(context: Context) -> frozenset[str]:
    """Return the names of trees without a record that hold unsaved work."""
    recorded = await context.store.names()
    return frozenset(
        [
            tree.name
            for tree in await context.worktrees.list()
            if tree.name not in recorded and not (await context.worktrees.report(tree.name)).clean
        ]
    )


async def _claims(context: Context, dry_run: bool, kept: Collection[str]) -> AsyncIterator[GcAction]:
    """Reservations of this repository whose record is gone."""
    for claim in await context.registry.claims(repository=context.repository.root):
        if claim.name in kept or await _has_record(context, claim.name):
            continue
        async with context.locks.workspace(claim.name, f"sweeping {claim.name}"):
            # Asked again under the lock: a creation may have been between its claim and its record.
            if await _has_record(context, claim.name):
                continue
            if not dry_run:
                await context.allocator.release(claim.id)
                await context.registry.unclaim(claim.id)
        yield _action("claim", claim.name, dry_run, "reserved, but there is no such workspace")


async def _instances(
    context: Context, dry_run: bool, kept: Collection[str], without: Collection[str]
) -> AsyncIterator[GcAction]:
    """Containers and process groups of this repository and node that belong to nobody.

    Another repository's are not ours to judge: its folder may just not be mounted.
    """
    claimed = {claim.id for claim in await context.registry.claims()}
    records, _ = await context.records.all()
    # A registry that was lost and could not be filled again may have another id since; what was made before says the old one.
    nodes = {context.node, *(record.node for record in records if record.node is not None)}
    for name in context.backends.names():
        if name in without:
            continue
        try:
            with anyio.fail_after(LIST_TIMEOUT):
                provider = await context.backends.provider(name)
                found = await provider.list({LABEL_REPOSITORY: str(context.repository.root)})
        except (NexusError, TimeoutError):
            continue  # a backend that cannot be asked now has orphans another time
        for status in found:
            owner = status.labels.get(LABEL_NAME, "")
            if status.labels.get(LABEL_NODE) not in nodes or owner in kept:
                continue
            if status.ref.id in claimed or await _has_record(context, owner, status.ref.id):
                continue
            if not dry_run:
                await provider.destroy(status.ref)
            yield _action("orphan", owner or status.ref.id, dry_run, f"{name} instance without a workspace")


async def _worktrees(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    """Our worktrees without a record: removed when nothing would be lost, else kept and named."""
    for tree in await context.worktrees.list():
        if await _has_record(context, tree.name):
            continue
        async with context.locks.workspace(tree.name, f"sweeping {tree.name}"):
            if await _has_record(context, tree.name):
                continue
            report = await context.worktrees.report(tree.name)
            if not report.clean:
                reason = f"worktree without a workspace, but it holds unsaved work: {tree.path}"
                yield GcAction(kind="orphan", name=tree.name, action="kept", reason=reason)
                continue
            if not dry_run:
                async with context.locks.repository(f"sweeping {tree.name}"):
                    await context.worktrees.remove(tree.name, expected_tip=tree.head, delete_branch=True)
        yield _action("orphan", tree.name, dry_run, "worktree without a workspace")


async def _leases(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    """Ports leased to workspaces that no repository of this node claims, and to programs that have ended."""
    claimed = {str(claim.id) for claim in await context.registry.claims()}
    orphans = {row.owner for row in await context.registry.leases() if row.process is None} - claimed
    for owner in sorted(orphans):
        if not dry_run:
            await context.allocator.release(WorkspaceId(owner))
        yield _action("lease", owner, dry_run, "ports leased to a workspace that is gone")
    if not dry_run:
        for port in await context.allocator.reclaim():
            yield GcAction(kind="lease", name=str(port), action="removed", reason="leased to a program that has ended")


async def _prebuilds(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    """Workspaces that a killed prebuild left; there is no work in them."""
    reason = "a prebuild that was killed left it"
    records, _ = await context.records.all()
    if not any(is_being_made(record) for record in records):
        return
    try:
        async with prebuilding.turn(context, timeout=0.1):
            gone = (
                [record.name for record in records if is_being_made(record)]
                if dry_run
                else await prebuilding.clear(context)
            )
    except Busy:
        return  # somebody is at it
    for name in gone:
        yield _action("orphan", name, dry_run, reason)


async def _expired(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    records, _ = await context.records.all()
    now = context.clock.now()
    for record in records:
        if record.expires_at is not None and record.expires_at <= now:
            yield await expire(context, record, dry_run=dry_run)


async def expire(context: Context, record: WorkspaceRecord, *, dry_run: bool = False) -> GcAction:
    """Destroy a workspace that is past its time, unless work would be lost or somebody holds it."""
    holds = [hold for hold in await context.holds.load(record.id) if hold.counts(context.clock.now())]
    if holds:
        held = ", ".join(hold.name for hold in holds)
        return GcAction(kind="expired", name=record.name, action="kept", reason=f"past its time, but held by {held}")
    reason = f"expired {record.expires_at:%Y-%m-%d %H:%M} UTC"
    if dry_run:
        return _action("expired", record.name, dry_run, reason)
    try:
        async with holding(context, record.name, purpose=f"expiring {record.name}"):
            await destruction.destroy(context, await context.records.load(record.name), force=False)
    except UnsavedWork as error:
        return GcAction(kind="expired", name=record.name, action="kept", reason=f"{reason}, but {error.message}")
    except NexusError as error:
        return GcAction(kind="expired", name=record.name, action="kept", reason=f"{reason}; {error.message}")
    return _action("expired", record.name, dry_run, reason)


async def _trash(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    """Removed trees that cannot be deleted. What can be is being deleted already and not worth a word."""
    if not dry_run:
        context.trash.wake()
    await context.trash.settle()
    for item in await anyio.to_thread.run_sync(list_trash, context.repository):
        reason = f"files of a removed tree belong to somebody else; delete them with: {item.command}"
        yield GcAction(kind="trash", name=item.path.name, action="kept", reason=reason)


async def _has_record(context: Context, name: str, identifier: WorkspaceId | None = None) -> bool:
    """Whether there is a record of this name (and id), readable or not: a damaged one still owns what it names."""
    try:
        record = await context.records.load(name)
    except WorkspaceNotFound:
        return False
    except NexusError:
        return True
    return identifier in {None, record.id}


def _action(kind: str, name: str, dry_run: bool, reason: str) -> GcAction:
    return GcAction.model_validate(
        {"kind": kind, "name": name, "action": "would-remove" if dry_run else "removed", "reason": reason}
    )
