"""Bringing a workspace's branch up to date, so that a process that dies on the way leaves something to be put in order."""

from __future__ import annotations

from nexus.models.requests import SyncOutcome
from nexus.models.workspace import WorkspaceRecord
from nexus.state import JournalEntry
from nexus.workspace.context import Context
from nexus.workspace.plan import Operation, SyncStep
from nexus.workspace.underway import underway


async def sync(context: Context, record: WorkspaceRecord) -> SyncOutcome:
    """Fetch and fast-forward, or bring a private clone's branch back. The caller holds the workspace's lock."""
    plan = tuple(SyncStep)
    async with (
        context.locks.repository(f"syncing workspace {record.name}"),
        underway(context, record, Operation.SYNC, _leave, plan=plan, durable=True) as journal,
    ):

        async def announce(before: str, after: str) -> None:
            await journal.done(SyncStep.AIM, {"before": before, "after": after})

        return await context.worktrees.sync(record.name, announce=announce)


async def settle(context: Context, entry: JournalEntry) -> None:
    """Settle a sync that was cut short. The caller holds the workspace's lock."""
    before, after = entry.facts.get("before"), entry.facts.get("after")
    if isinstance(before, str) and isinstance(after, str):
        async with context.locks.repository(f"recovering {entry.name}"):
            await context.worktrees.settle_sync(entry.name, before=before, after=after)


async def _leave(context: Context, entry: JournalEntry) -> None:
    """A cancelled sync has cleaned up by itself: its thread is always waited for."""
