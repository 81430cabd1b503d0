"""What a crash leaves is a journal; here it is finished or undone. Called when a manager opens, by ``gc`` and by ``doctor``."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import anyio

from nexus.errors import Busy, NexusError
from nexus.models.events import Recovered
from nexus.models.requests import CreateRequest, GcAction
from nexus.state import JournalEntry
from nexus.state.threads import run_whole
from nexus.workspace import operations
from nexus.workspace.context import Context
from nexus.workspace.plan import GIT_WORK, VITAL, CreateStep, Operation, verdict, workspaces_of

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


@asynccontextmanager
async def holding(
    context: Context,
    *names: str,
    purpose: str,
    besides: Callable[[], Iterable[str]] | None = None,
    first: Callable[[], object] | None = None,
    last: Callable[[], object] | None = None,
) -> AsyncGenerator[Callable[[], None], None]:
    """Hold workspaces against everybody else, with whatever a crash left of them settled first.

    Gives what lets go of them early: it blocks, and is for whoever visits a thread anyway to do what comes last.

    Args:
        context: The repository.
        names: The workspaces.
        purpose: What they are held for, for those who wait.
        besides: Finds out which other ones are to be held; short, and blocks.
        first: Something short that blocks, to be done when they are held and settled.
        last: Something short that blocks, to be done before they are let go of, whether the block, or ``first``, was come to or not.

    Raises:
        Busy: When somebody else holds one of them for longer than a minute; the error names who.
        NexusError: When a creation or destruction that was cut short cannot be settled. Nothing else is in the way.
    """
    tried: set[str] = set()
    held: frozenset[str] = frozenset()
    found: list[JournalEntry] = []

    def which() -> frozenset[str]:
        nonlocal held
        held = frozenset((*names, *(besides() if besides is not None else ())))
        return held

    def look() -> None:
        read = context.journal.read_unfinished(lambda entry: bool(_about(entry) & held))
        found[:] = [entry for entry in read if _about(entry) & held]
        if first is not None and not found:
            first()

    while True:
        async with context.locks.workspaces(which, purpose, first=look, last=last) as let_go:
            wider = await _settle_held(context, held, found, tried)
            if wider is None:
                if first is not None and found:
                    await run_whole(first)
                yield let_go
                return
        # A switch that was cut short needs the other workspace's lock as well, and locks are taken in one order only.
        tried.add(wider.id)
        async with context.locks.workspaces(_names(wider), f"recovering {wider.name}"):
            if await anyio.Path(wider.path).exists():
                await _try_to_settle(context, wider)


async def _settle_held(
    context: Context, names: frozenset[str], entries: Sequence[JournalEntry], tried: Container[str]
) -> JournalEntry | None:
    """Settle the journals of workspaces whose locks are held, so whoever wrote them has let go; return one that needs more."""
    for entry in entries:
        if _about(entry) <= names:
            await _try_to_settle(context, entry)
        elif entry.id not in tried:
            return entry
    return None


def _about(entry: JournalEntry) -> frozenset[str]:
    return frozenset() if entry.damaged else _names(entry)


async def _given_up(context: Context, entry: JournalEntry) -> bool:
    """Whether nobody works on it any more. Whoever does holds the workspace's lock from before the journal's first line."""
    try:
        async with context.locks.workspace(entry.name, f"looking after {entry.name}", timeout=_PEEK):
            return await anyio.Path(entry.path).exists()
    except Busy:
        return False


async def _try_to_settle(context: Context, entry: JournalEntry) -> None:
    """Settle a journal. Only a creation or destruction that cannot be settled keeps others from going on."""
    if not await anyio.Path(entry.path).exists():
        return  # it was settled as a part of another one
    if entry.operation in VITAL:
        await _settle(context, entry)
        return
    try:
        await _settle(context, entry)
    except NexusError as error:
        _log.warning("recovering %s of %s: %s", entry.operation, entry.name, error)


def _names(entry: JournalEntry) -> frozenset[str]:
    return workspaces_of(entry.name, entry.facts)


async def _report(context: Context, entry: JournalEntry, *, dry_run: bool) -> GcAction:
    what = f"an interrupted {entry.operation or 'operation'}"
    if dry_run:
        return _action(entry, "would-remove", what)
    if entry.damaged:
        return await _report_damaged(context, entry)
    try:
        async with context.locks.workspaces(_names(entry), f"recovering {entry.name}"):
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
    if entry.operation in GIT_WORK:
        async with context.locks.repository(f"recovering {entry.name}"):
            await context.worktrees.clear_after_crash(since=entry.begun_at)
    match entry.operation:
        case Operation.CREATE:
            outcome = await _settle_creation(context, entry)
        case Operation.DESTROY:
            await operations.destruction.resume(context, entry)
        case Operation.SWITCH:
            await _whole(context, entry, operations.switching.settle)
        case Operation.SYNC:
            await _whole(context, entry, operations.syncing.settle)
        case Operation.CHECKPOINT:
            await _whole(context, entry, operations.checkpointing.settle)
        case Operation.DELETE_CHECKPOINT:
            await _whole(context, entry, operations.checkpointing.settle_deletion)
        case Operation.RESTORE_CHECKPOINT:
            await _whole(context, entry, operations.rewinding.settle)
        case Operation.FORK:
            await _whole(context, entry, operations.forking.settle)
        case Operation.PRUNE:
            await context.journal.discard(entry)
        case _:
            await _whole(context, entry, operations.settling.settle_run)
    context.bus.publish(
        Recovered(workspace=entry.workspace, name=entry.name, operation=entry.operation, outcome=outcome)
    )
    return outcome


async def _whole(
    context: Context, entry: JournalEntry, settle: Callable[[Context, JournalEntry], Awaitable[None]]
) -> None:
    journal = await context.journal.reopen(entry)
    await settle(context, journal.entry)
    await journal.close()


async def _settle_creation(context: Context, entry: JournalEntry) -> Literal["finished", "undone"]:
    if verdict(entry.started, entry.finished) == "finish" and await _finish(context, entry):
        return "finished"
    work = await operations.creation.resume(context, entry)
    await operations.creation_undo.undo(context, work.journal, entry, work.record)
    return "undone"


async def _finish(context: Context, entry: JournalEntry) -> bool:
    """Take the steps a creation still lacks; say whether it could."""
    request = CreateRequest.model_validate(entry.facts["request"])
    work = await operations.creation.resume(context, entry)
    try:
        if request.start and CreateStep.START not in entry.finished:
            await work.start()
        await work.complete(started=request.start)
    except NexusError as error:
        _log.info("finishing the creation of %s failed, undoing it: %s", entry.name, error)
        return False
    return True
