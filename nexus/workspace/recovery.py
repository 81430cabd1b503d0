"""What a crash leaves is a journal; here it is finished or undone. Called when a manager opens, by ``gc`` and by ``doctor``."""

from __future__ import annotations

import logging
from typing import Literal

import anyio

from nexus.errors import Busy, NexusError
from nexus.models.events import Recovered
from nexus.models.requests import CreateRequest, GcAction
from nexus.state import JournalEntry
from nexus.workspace import creation, destruction
from nexus.workspace.context import Context
from nexus.workspace.plan import CreateStep, Operation, verdict

_PEEK = 0.05
"""Seconds that somebody's lock is waited for before he counts as being at work."""

_log = logging.getLogger(__name__)


async def recover(context: Context, *, dry_run: bool = False, given_up: bool = False) -> tuple[GcAction, ...]:
    """Settle every journal whose writer is gone. One that cannot be settled now is reported and stays.

    Args:
        context: The repository.
        dry_run: Only say what would be done.
        given_up: Settle those of living writers as well that have given up: a long-lived program that could not undo something
            because the disk was full keeps its journal, but not the workspace's lock.
    """
    return tuple(
        [
            await _report(context, entry, dry_run=dry_run)
            for entry in await context.journal.unfinished()
            if not entry.owner_alive or (given_up and await _given_up(context, entry))
        ]
    )


async def _given_up(context: Context, entry: JournalEntry) -> bool:
    """Whether nobody works on it any more. Whoever does holds the workspace's lock from before the journal's first line."""
    try:
        async with context.workspace_lock(entry.name, f"looking after {entry.name}", timeout=_PEEK):
            return await anyio.Path(entry.path).exists()
    except Busy:
        return False


async def recover_name(context: Context, name: str) -> None:
    """Settle the journals of one name. The caller holds its lock, so whoever wrote them has let go."""
    for entry in await context.journal.unfinished():
        if entry.name == name and not entry.damaged:
            await _settle(context, entry)


async def _report(context: Context, entry: JournalEntry, *, dry_run: bool) -> GcAction:
    what = f"an interrupted {entry.operation or 'operation'}"
    if dry_run:
        return _action(entry, "would-remove", what)
    if entry.damaged:
        return await _report_damaged(context, entry)
    try:
        async with context.workspace_lock(entry.name, f"recovering {entry.name}"):
            if not await anyio.Path(entry.path).exists():
                return _action(entry, "finished", "somebody else settled it")
            return _action(entry, await _settle(context, entry), what)
    except NexusError as error:
        _log.warning("recovering %s of %s: %s", entry.operation, entry.name, error)
        return _action(entry, "kept", f"{what}: {error.message}")


async def _report_damaged(context: Context, entry: JournalEntry) -> GcAction:
    if entry.operation:
        # Something did happen: what is left of it is found by its labels, claims and worktrees, and the file is evidence.
        return _action(entry, "kept", f"an interrupted {entry.operation} cannot be read: {entry.damaged}")
    # A header is written before the first effect: one that was never whole has nothing behind it.
    await context.journal.discard(entry)
    return _action(entry, "removed", f"unreadable: {entry.damaged}")


def _action(
    entry: JournalEntry, action: Literal["removed", "would-remove", "kept", "finished", "undone"], reason: str
) -> GcAction:
    return GcAction(kind="journal", name=entry.name or entry.path.name, action=action, reason=reason)


async def _settle(context: Context, entry: JournalEntry) -> Literal["finished", "undone"]:
    outcome: Literal["finished", "undone"] = "finished"
    if entry.operation == Operation.DESTROY:
        await destruction.resume(context, entry)
    elif verdict(entry.started, entry.finished) == "finish" and await _finish(context, entry):
        pass
    else:
        work = await creation.resume(context, entry)
        await creation.undo(context, work.journal, entry, work.record)
        outcome = "undone"
    context.bus.publish(
        Recovered(workspace=entry.workspace, name=entry.name, operation=entry.operation, outcome=outcome)
    )
    return outcome


async def _finish(context: Context, entry: JournalEntry) -> bool:
    """Take the steps a creation still lacks; say whether it could."""
    request = CreateRequest.model_validate(entry.facts["request"])
    work = await creation.resume(context, entry)
    try:
        if request.start and CreateStep.START not in entry.finished:
            await work.start()
        await work.complete(started=request.start)
    except NexusError as error:
        _log.info("finishing the creation of %s failed, undoing it: %s", entry.name, error)
        return False
    return True
