"""``prune``: what was kept of destroyed workspaces goes when it is old enough. Decided purely, carried out piece by piece.

Every piece may be removed twice, and in each the note goes last: a prune that is killed half-way is taken up by the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import anyio

from nexus.errors import Busy, NexusError
from nexus.git import Trash, list_trash
from nexus.models.ids import WorkspaceId
from nexus.models.rescues import DestroyedWorkspace, PruneAction, Rescue
from nexus.models.units import format_duration, format_size
from nexus.workspace import image_pruning, kept_checkpoints, kept_volumes, prebuild_pruning
from nexus.workspace.context import Context
from nexus.workspace.kept_volumes import Kept
from nexus.workspace.plan import Operation
from nexus.workspace.recovery import holding


class Candidate(NamedTuple):
    """One thing that could go."""

    what: DestroyedWorkspace | Rescue | Kept
    ref: str | None
    time: datetime
    size: int | None


class Verdict(NamedTuple):
    """What is to become of it."""

    candidate: Candidate
    remove: bool
    reason: str


def decide(
    candidates: Sequence[Candidate], *, now: datetime, older_than: timedelta | None, max_disk: int | None
) -> list[Verdict]:
    """Say what goes and what stays, the oldest first. Nothing that is younger than ``older_than`` ever goes.

    Args:
        candidates: What there is.
        now: The time.
        older_than: The age from which things may go; ``None``: nothing may.
        max_disk: Bytes that what stays may take; the oldest go until it fits. ``None``: everything goes that may.
    """
    total = sum(candidate.size or 0 for candidate in candidates)
    verdicts: list[Verdict] = []
    for candidate in sorted(candidates, key=lambda each: (each.time, each.ref or "")):
        age = now - candidate.time
        told = f"{format_duration(timedelta(seconds=int(max(age.total_seconds(), 0))))} old"
        if older_than is None:
            verdicts.append(Verdict(candidate, False, f"{told}; destroyed workspaces are kept until an age is given"))
        elif age < older_than:
            verdicts.append(Verdict(candidate, False, f"{told}, younger than {format_duration(older_than)}"))
        elif max_disk is not None and total <= max_disk:
            verdicts.append(Verdict(candidate, False, f"{told}, but everything fits into {format_size(max_disk)}"))
        else:
            total -= candidate.size or 0
            verdicts.append(Verdict(candidate, True, told))
    return verdicts


async def prune(
    context: Context, *, dry_run: bool, older_than: timedelta | None, max_disk: int | None
) -> tuple[PruneAction, ...]:
    """Remove what may go, and empty the trash."""
    rescues, entries = await context.worktrees.rescues(), await context.destroyed.load_all()
    candidates = [
        *(Candidate(rescue, rescue.ref, rescue.time, rescue.size) for rescue in rescues),
        *(Candidate(entry, entry.ref, entry.destroyed_at, None) for entry in entries),
        *(Candidate(kept, None, kept.time, None) for kept in await kept_volumes.find(context)),
    ]
    actions = [
        await _carry_out(context, verdict, dry_run=dry_run)
        for verdict in decide(candidates, now=datetime.now(UTC), older_than=older_than, max_disk=max_disk)
    ]
    actions += await kept_checkpoints.prune(context, dry_run=dry_run, older_than=older_than)
    now = datetime.now(UTC)
    return (
        *actions,
        *await _strays(context, entries),
        *await prebuild_pruning.prune(context, dry_run=dry_run, now=now),
        *await image_pruning.prune(context, dry_run=dry_run, now=now),
        *await _trash(context, dry_run=dry_run),
    )


async def _carry_out(context: Context, verdict: Verdict, *, dry_run: bool) -> PruneAction:
    candidate = verdict.candidate
    action = PruneAction(
        kind=_kind(candidate.what),
        name=candidate.what.name,
        action="kept",
        reason=verdict.reason,
        ref=candidate.ref,
        time=candidate.time,
        size=candidate.size,
    )
    if not verdict.remove:
        return action
    if dry_run:
        return action.model_copy(update={"action": "would-remove"})
    try:
        name = candidate.what.volume.workspace_name if isinstance(candidate.what, Kept) else candidate.what.name
        async with holding(context, name, purpose=f"pruning {name}"):
            journal = await context.journal.begin(
                operation=Operation.PRUNE,
                workspace=_identifier(candidate.what),
                name=name,
                plan=(),
                facts={},
                durable=False,
            )
            try:
                await _remove(context, candidate.what)
            finally:
                with anyio.CancelScope(shield=True):
                    await journal.close()
    except NexusError as error:
        return action.model_copy(update={"reason": f"{verdict.reason}, but {error.message}"})
    return action.model_copy(update={"action": "removed"})


def _identifier(what: DestroyedWorkspace | Rescue | Kept) -> WorkspaceId:
    return what.id if isinstance(what, DestroyedWorkspace) else WorkspaceId("")


def _kind(what: DestroyedWorkspace | Rescue | Kept) -> Literal["destroyed", "rescue", "volume"]:
    return "rescue" if isinstance(what, Rescue) else "volume" if isinstance(what, Kept) else "destroyed"


async def _remove(context: Context, what: DestroyedWorkspace | Rescue | Kept) -> None:
    if isinstance(what, Kept):
        await kept_volumes.remove(context, what)
        return
    ref, commit = (what.ref, what.commit) if isinstance(what, Rescue) else (what.ref, what.tip)
    if ref is not None and commit is not None and not await context.worktrees.drop(ref, expected=commit):
        raise Busy(f"somebody has just moved {ref}")
    if isinstance(what, DestroyedWorkspace):
        await context.destroyed.delete(what)


async def _strays(context: Context, entries: Sequence[DestroyedWorkspace]) -> list[PruneAction]:
    """Tips without a note of when they were kept: named, and left to people."""
    known = {entry.ref for entry in entries}
    return [
        PruneAction(
            kind="destroyed",
            name=ref.split("/")[-2],
            action="kept",
            reason=f"nobody knows how old it is; to remove it: git update-ref -d {ref}",
            ref=ref,
        )
        for ref in sorted(await context.worktrees.destroyed_tips())
        if ref not in known
    ]


async def _trash(context: Context, *, dry_run: bool) -> list[PruneAction]:
    """Trees that were removed already. They are no work: what was unsaved in them was kept or refused."""
    before = await anyio.to_thread.run_sync(list_trash, context.repository)
    if dry_run:
        return [_of_trash(item, "would-remove", "a tree that was removed") for item in before]
    context.trash.wake()
    await context.trash.settle()
    left = {item.path for item in await anyio.to_thread.run_sync(list_trash, context.repository)}
    return [
        _of_trash(item, "kept", f"files in it belong to somebody else; delete them with: {item.command}")
        if item.path in left
        else _of_trash(item, "removed", "a tree that was removed")
        for item in before
    ]


def _of_trash(item: Trash, action: str, reason: str) -> PruneAction:
    return PruneAction.model_validate(
        {"kind": "trash", "name": item.path.name, "action": action, "reason": reason, "size": item.size}
    )
