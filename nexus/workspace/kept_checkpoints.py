"""Checkpoints whose workspace goes, and what is left of checkpoints that nobody has noted. Work that is in them alone becomes a rescue."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

from nexus.abc import SupportsCheckpoints
from nexus.errors import Busy, CheckpointDamaged, NexusError
from nexus.models.checkpoints import CheckpointEntry
from nexus.models.ids import CheckpointId, slugify
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY
from nexus.models.requests import GcAction
from nexus.models.rescues import PruneAction
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import checkpointing
from nexus.workspace.context import Context
from nexus.workspace.observing import LIST_TIMEOUT

_PATIENCE: Final = 1.0
"""Seconds that a workspace's lock is waited for; what is in somebody's hands is not left over."""


async def end_all(context: Context, record: WorkspaceRecord) -> None:
    """Remove the checkpoints of a workspace that is being destroyed. May be called twice."""
    for entry in await context.checkpoints.load(record.name):
        if entry.checkpoint.workspace == record.id:
            await end(context, entry)


async def end(context: Context, entry: CheckpointEntry) -> str | None:
    """Remove one checkpoint; return the ref that keeps its work, when it holds some that is nowhere else."""
    rescued = None
    with suppress(CheckpointDamaged):  # what is gone holds nothing
        rescued = await context.trees.keep_work(entry.checkpoint.workspace_name, entry.checkpoint.commit)
    await checkpointing.remove(context, entry)
    return rescued


async def sweep(context: Context, *, dry_run: bool, without: Collection[str] = ()) -> AsyncIterator[GcAction]:
    """Remove checkpoints without a workspace, those that were taken for a fork which is over, and what nobody has noted."""
    for part in (_entries(context, dry_run), _refs(context, dry_run), _places(context, dry_run, without)):
        async for action in part:
            yield action


async def prune(context: Context, *, dry_run: bool, older_than: timedelta | None) -> list[PruneAction]:
    """Say what every checkpoint takes, and remove those that were taken unasked and are old enough. Those with a name stay."""
    return [
        await _prune_one(context, entry, dry_run=dry_run, older_than=older_than)
        for entry in await context.checkpoints.load_all()
    ]


async def _prune_one(
    context: Context, entry: CheckpointEntry, *, dry_run: bool, older_than: timedelta | None
) -> PruneAction:
    checkpoint = entry.checkpoint
    action = PruneAction(
        kind="checkpoint",
        name=f"{checkpoint.workspace_name}/{checkpoint.label}",
        action="kept",
        reason=f"a checkpoint; to remove it: boulder ws checkpoint delete {checkpoint.workspace_name} {checkpoint.id}",
        ref=checkpoint.ref,
        time=checkpoint.created_at,
        size=checkpoint.size,
    )
    old = older_than is not None and datetime.now(UTC) - checkpoint.created_at >= older_than
    if checkpoint.reason is None or not old:
        return action
    reason = f"taken unasked: {checkpoint.reason}"
    if dry_run:
        return action.model_copy(update={"action": "would-remove", "reason": reason})
    try:
        async with context.locks.workspace(
            checkpoint.workspace_name, f"pruning checkpoints of {checkpoint.workspace_name}"
        ):
            # What a fork is being made from is removed by it, and is not there any more when we get the lock.
            if await _noted(context, checkpoint.id):
                await checkpointing.remove(context, entry)
    except NexusError as error:
        return action.model_copy(update={"reason": f"{reason}, but {error.message}"})
    return action.model_copy(update={"action": "removed", "reason": reason})


@asynccontextmanager
async def _held(context: Context, name: str) -> AsyncGenerator[bool, None]:
    """Hold a workspace; say whether that was possible. Whoever takes, restores or forks a checkpoint holds it until he is done."""
    async with AsyncExitStack() as held:
        try:
            purpose = f"sweeping the checkpoints of {name}"
            await held.enter_async_context(context.locks.workspace(name, purpose, timeout=_PATIENCE))
        except Busy:
            yield False
        else:
            yield True


async def _entries(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    for entry in await context.checkpoints.load_all():
        name = entry.checkpoint.workspace_name
        if not entry.passing and await _alive(context, entry):
            continue
        async with _held(context, name) as held:
            # Asked again under the lock.
            alive = held and await _alive(context, entry)
            if not held or (alive and not entry.passing) or not await _noted(context, entry.checkpoint.id):
                continue
            reason = (
                "taken for a fork that is over" if alive else f"checkpoint of the workspace {name!r}, which is gone"
            )
            if not dry_run and alive:
                await checkpointing.remove(context, entry)
            elif not dry_run:
                reason += _kept_as(await end(context, entry))
        yield _action(entry.checkpoint.label, dry_run, reason)


async def _refs(context: Context, dry_run: bool) -> AsyncIterator[GcAction]:
    for ref in sorted(await context.trees.refs()):
        name, identifier = ref.split("/")[-2:]
        if await _noted(context, CheckpointId(identifier)):
            continue
        async with _held(context, name) as held:
            commit = (await context.trees.refs()).get(ref)
            if not held or commit is None or await _noted(context, CheckpointId(identifier)):
                continue
            reason = f"the tree of a checkpoint of {name!r} that nobody has noted"
            if not dry_run:
                rescued = await context.trees.keep_work(name, commit)
                await context.trees.drop(ref, expected=commit)
                reason += _kept_as(rescued)
        yield _action(identifier, dry_run, reason)


async def _places(context: Context, dry_run: bool, without: Collection[str]) -> AsyncIterator[GcAction]:
    records, _ = await context.records.all()
    nodes = {context.node, *(record.node for record in records if record.node is not None)}
    for backend in context.backends.names():
        if backend in without:
            continue
        try:
            with anyio.fail_after(LIST_TIMEOUT):
                provider = await context.backends.provider(backend)
                if not isinstance(provider, SupportsCheckpoints):
                    continue
                found = await provider.kept_places({LABEL_REPOSITORY: str(context.repository.root)})
        except (NexusError, TimeoutError):
            continue  # a backend that cannot be asked now has orphans another time
        for key, labels in found.items():
            name = labels.get(LABEL_NAME, "")
            if labels.get(LABEL_NODE) not in nodes or slugify(name) != name or await _noted(context, key):
                continue  # another node's, nothing that we could have made, or somebody's
            async with _held(context, name) as held:
                if not held or await _noted(context, key):
                    continue
                if not dry_run:
                    await provider.drop_place(key)
            yield _action(str(key), dry_run, f"kept by {backend} for a checkpoint of {name!r} that nobody has noted")


def _kept_as(ref: str | None) -> str:
    return f"; its work is kept under {ref}" if ref else ""


async def _noted(context: Context, key: CheckpointId) -> bool:
    return any(entry.checkpoint.id == key for entry in await context.checkpoints.load_all())


async def _alive(context: Context, entry: CheckpointEntry) -> bool:
    try:
        record = await context.records.load(entry.checkpoint.workspace_name)
    except LookupError:
        return False
    except NexusError:
        return True  # a damaged record still owns what it names
    return record.id == entry.checkpoint.workspace


def _action(name: str, dry_run: bool, reason: str) -> GcAction:
    return GcAction(kind="checkpoint", name=name, action="would-remove" if dry_run else "removed", reason=reason)
