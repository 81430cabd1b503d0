"""Forks: new workspaces from a checkpoint of one, many at once. Each is a creation of its own; what fails is a value beside the rest."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from pydantic import JsonValue

from nexus.abc import ProgressCallback
from nexus.errors import InvalidArgument, NexusError
from nexus.models.checkpoints import CheckpointEntry, Failure, ForkOutcome, ForkRequest
from nexus.models.events import ForkMade
from nexus.models.ids import CheckpointId, parse_name
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceInfo, WorkspaceRecord
from nexus.state import JournalEntry
from nexus.workspace import checkpointing, creation_begin, creation_undo, observing
from nexus.workspace.context import Context
from nexus.workspace.plan import WITH, Operation
from nexus.workspace.underway import underway


def valid_names(request: ForkRequest) -> tuple[str, ...]:
    """Return the names that can be those of workspaces.

    Raises:
        InvalidArgument: When there is none, or one is there twice.
    """
    if not request.names:
        raise InvalidArgument("a fork needs a name at least", hint="say what the new workspaces are called")
    twice = sorted({name for name in request.names if request.names.count(name) > 1})
    if twice:
        raise InvalidArgument(f"two forks cannot have one name: {', '.join(twice)}", details={"names": twice})
    return tuple(name for name in request.names if _problem(name) is None)


def _problem(name: str) -> NexusError | None:
    try:
        parse_name(name)
    except NexusError as error:
        return error
    return None


async def fork(
    context: Context, record: WorkspaceRecord, request: ForkRequest, progress: ProgressCallback | None = None
) -> tuple[ForkOutcome, ...]:
    """Make workspaces from a checkpoint of one, or from what it is now. The caller holds its lock, and those of the new names.

    Raises:
        CheckpointNotFound, CheckpointDamaged: When there is nothing to start from.
        NexusError: When what it is now cannot be kept. Nothing was made then.

    Cancellation: what is being made is undone; forks that were done stay.
    """
    passing = request.at is None
    entry = (
        await checkpointing.create(context, record, reason="for a fork", passing=True, progress=progress)
        if request.at is None
        else await checkpointing.find(context, record, request.at)
    )
    facts: dict[str, JsonValue] = {
        WITH: [*valid_names(request)],
        "passing": str(entry.checkpoint.id) if passing else None,
    }
    async with underway(context, record, Operation.FORK, settle, facts=facts):
        await context.trees.secure(entry.checkpoint.ref, entry.checkpoint.commit)
        outcomes = await _all(context, request, entry, progress)
        if passing:
            await checkpointing.remove(context, entry)
    return outcomes


async def _all(
    context: Context, request: ForkRequest, entry: CheckpointEntry, progress: ProgressCallback | None
) -> tuple[ForkOutcome, ...]:
    done: dict[str, ForkOutcome] = {}

    async def make(name: str) -> None:
        done[name] = await _one(context, name, request, entry, progress)

    async with anyio.create_task_group() as group:
        for name in request.names:
            group.start_soon(make, name)
    return tuple(done[name] for name in request.names)


async def _one(
    context: Context, name: str, request: ForkRequest, entry: CheckpointEntry, progress: ProgressCallback | None
) -> ForkOutcome:
    try:
        wanted = CreateRequest(
            name=parse_name(name),
            restore=entry.checkpoint.ref,
            fork=f"{entry.checkpoint.workspace_name}/{entry.checkpoint.id}",
            start=request.start,
        )
        work = await creation_begin.begin(context, wanted, progress)
        made = await work.run(wanted)
        _announce(context, entry, made)
        return ForkOutcome(name=name, info=await observing.look(context, made))
    except NexusError as error:
        failure = Failure(code=error.code, message=error.message, hint=error.hint)
        return ForkOutcome(name=name, info=await _made(context, name, entry), error=failure)


def _announce(context: Context, entry: CheckpointEntry, made: WorkspaceRecord) -> None:
    parent = entry.checkpoint
    context.bus.publish(
        ForkMade(
            workspace=parent.workspace,
            name=parent.workspace_name,
            fork=made.id,
            fork_name=made.name,
            checkpoint=parent.id,
        )
    )


async def _made(context: Context, name: str, entry: CheckpointEntry) -> WorkspaceInfo | None:
    """Return a fork that was made and does not run: one whose scripts fail stays, to be looked at."""
    try:
        record = await context.records.load(name)
    except NexusError:
        return None
    ours = (
        record.created_at > entry.checkpoint.created_at
        and record.config.get(creation_undo.FORKED) == entry.checkpoint.id
    )
    if not ours:
        return None
    _announce(context, entry, record)
    return await observing.look(context, record)


async def settle(context: Context, entry: JournalEntry) -> None:
    """Settle a fork that was cut short: what was kept for it alone goes. Its creations have journals of their own."""
    passing = entry.facts.get("passing")
    if passing is not None:
        await drop_passing(context, entry.name, (CheckpointId(str(passing)),))


async def drop_passing(context: Context, name: str, wanted: Sequence[CheckpointId]) -> None:
    """Remove checkpoints that were taken for a fork alone."""
    for each in await context.checkpoints.load(name):
        if each.passing and each.checkpoint.id in wanted:
            await checkpointing.remove(context, each)
