"""An operation that is under way: its journal is open, and whatever ends it early leaves nothing half done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from pydantic import JsonValue

from nexus.errors import NexusError
from nexus.models.workspace import WorkspaceRecord
from nexus.state import JournalEntry, OpenJournal
from nexus.workspace.context import Context
from nexus.workspace.plan import Operation

SETTLE_TIMEOUT = 60.0
"""Seconds that a cancelled operation may take to leave nothing half done; what is left then stays in the journal."""


@asynccontextmanager
async def underway(
    context: Context,
    record: WorkspaceRecord,
    operation: Operation,
    settle: Callable[[Context, JournalEntry], Awaitable[None]],
    *,
    plan: Sequence[str] = (),
    facts: Mapping[str, JsonValue] | None = None,
    durable: bool = False,
) -> AsyncGenerator[OpenJournal, None]:
    """Keep a journal for the block. The caller holds the workspace's lock.

    A block that raises one of our errors has put in order what it could, and the user is told. One that is cancelled, or ended by
    anything else, is settled as recovery would settle it after a crash.

    Args:
        context: The parts.
        record: What it is about.
        operation: What is done.
        settle: What recovery does with it.
        plan: The steps that are journaled.
        facts: What recovery has to know.
        durable: Whether the journal has to outlive the machine.
    """
    journal = await context.journal.begin(
        operation=operation, workspace=record.id, name=record.name, plan=plan, facts=facts or {}, durable=durable
    )
    async with begun(context, journal, settle):
        yield journal


@asynccontextmanager
async def begun(
    context: Context, journal: OpenJournal, settle: Callable[[Context, JournalEntry], Awaitable[None]]
) -> AsyncGenerator[None, None]:
    """Keep a journal for the block that is on the disk already, as :func:`underway` keeps its own.

    A block may close it, with the last thing that it does: then it has been done, and what comes later leaves nothing to settle.
    """
    try:
        yield
    except NexusError:
        await _close(journal)
        raise
    except BaseException as error:
        if not journal.closed:
            await _settled(context, journal, settle, error)
        raise
    await _close(journal)


async def _settled(
    context: Context,
    journal: OpenJournal,
    settle: Callable[[Context, JournalEntry], Awaitable[None]],
    error: BaseException,
) -> None:
    what = f"{journal.entry.operation} of {journal.entry.name!r}"
    with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_TIMEOUT) as scope:
        try:
            await settle(context, journal.entry)
            await journal.close()
        except NexusError as left:
            error.add_note(f"{what} was cut short and could not be put in order: {left}")
    if scope.cancelled_caught:
        error.add_note(f"{what} was cut short; 'boulder doctor --fix' puts it in order")


async def _close(journal: OpenJournal) -> None:
    # It is complete: a cancellation that comes now has come too late to leave a trace.
    with anyio.CancelScope(shield=True):
        await journal.close()
