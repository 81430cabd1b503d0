"""Taking and deleting checkpoints. A checkpoint exists once it is noted; what was kept before that has no other owner than the journal."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import anyio
from pydantic import JsonValue

from nexus.abc import ProgressCallback, Provider, SupportsCheckpoints, SupportsPause
from nexus.errors import (
    AlreadyExists,
    CheckpointNotFound,
    InvalidArgument,
    NexusError,
    OperationTimeout,
    ProviderUnavailable,
    Unsupported,
)
from nexus.git import KeptTree
from nexus.models.checkpoints import NAME_PATTERN, CheckpointEntry, KeptPlace
from nexus.models.events import CheckpointDeleted, CheckpointTaken
from nexus.models.ids import CheckpointId, new_checkpoint_id
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY, Capability, InstanceState
from nexus.models.workspace import WorkspaceRecord
from nexus.state import JournalEntry
from nexus.workspace import services_life
from nexus.workspace.at_once import both
from nexus.workspace.checkpoint_entry import entry_of
from nexus.workspace.context import Context
from nexus.workspace.places import Place, look
from nexus.workspace.plan import Operation
from nexus.workspace.records import reference
from nexus.workspace.reporting import reporter
from nexus.workspace.settling import let_go_on, record_of
from nexus.workspace.underway import underway

FROZEN_LIMIT: Final = 600.0
"""Seconds that a workspace may stand still for a checkpoint."""
_CLEANUP_LIMIT: Final = 60.0
_PROBES: Final = 5
"""Times that a backend is asked what it can do: a probe gives up early, and a busy machine is slow."""


def choose(entries: tuple[CheckpointEntry, ...], which: str, workspace: str) -> CheckpointEntry:
    """Return the checkpoint that is meant: by its name, its id, or the beginning of its id (four digits at least).

    Raises:
        CheckpointNotFound: When there is none, or several begin so.
    """
    for entry in entries:
        if which in {entry.checkpoint.name, entry.checkpoint.id}:
            return entry
    begun = [entry for entry in entries if len(which) >= 4 and entry.checkpoint.id.startswith(which)]
    if len(begun) == 1:
        return begun[0]
    known = ", ".join(entry.checkpoint.label for entry in entries[:5])
    raise CheckpointNotFound(
        f"workspace {workspace!r} has no checkpoint {which!r}"
        if not begun
        else f"{len(begun)} checkpoints of workspace {workspace!r} begin with {which!r}",
        hint=f"there is: {known}" if known else f"take one: boulder ws checkpoint create {workspace}",
        details={"workspace": workspace, "checkpoint": which},
    )


async def find(context: Context, record: WorkspaceRecord, which: str) -> CheckpointEntry:
    """Return one of a workspace's checkpoints.

    Raises:
        CheckpointNotFound: As for :func:`choose`.
    """
    return choose(await of_workspace(context, record), which, record.name)


async def of_workspace(context: Context, record: WorkspaceRecord) -> tuple[CheckpointEntry, ...]:
    """Return a workspace's checkpoints, the newest first. Those of one that had its name before are not its own."""
    entries = await context.checkpoints.load(record.name)
    return tuple(entry for entry in entries if entry.checkpoint.workspace == record.id)


async def create(
    context: Context,
    record: WorkspaceRecord,
    *,
    name: str | None = None,
    reason: str | None = None,
    processes: bool = False,
    passing: bool = False,
    progress: ProgressCallback | None = None,
) -> CheckpointEntry:
    """Take a checkpoint. The caller holds the workspace's lock.

    Args:
        context: The parts.
        record: The workspace.
        name: What to call it.
        reason: Why it is taken, when nobody has asked for it.
        processes: Whether processes have to be in it.
        passing: Whether it is for a fork alone.
        progress: Told how it moves on.

    Raises:
        AlreadyExists: When the name is taken.
        Unsupported: When processes cannot be kept.
        NexusError: When something cannot be kept. Nothing is left then.

    Cancellation: nothing is left, and the workspace goes on as it was.
    """
    await _refuse_name(context, record, name)
    report = reporter(context.bus, record, progress)
    keeper = await keeper_of(context, record)
    if processes and keeper is None:
        raise Unsupported(
            f"the {record.backend} backend cannot keep processes with a checkpoint",
            hint="leave them out: they are started again when it is restored",
            details={"capability": str(Capability.CHECKPOINTS), "provider": record.backend},
        )
    place, identifier = await look(context, record), new_checkpoint_id()
    runs = place.seen.state is InstanceState.RUNNING
    facts: dict[str, JsonValue] = {"checkpoint": str(identifier), "ran": runs}
    async with underway(context, record, Operation.CHECKPOINT, settle, facts=facts):
        try:
            report("checkpoint", f"taking a checkpoint of {record.name}")
            entry = await _take(context, record, place, keeper, identifier, processes=processes)
            checkpoint = entry.checkpoint.model_copy(update={"name": name, "reason": reason})
            entry = entry.model_copy(update={"checkpoint": checkpoint, "passing": passing})
            await context.checkpoints.save(entry)
        except NexusError as error:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP_LIMIT):
                try:
                    await discard(context, record.backend, identifier)
                except NexusError as left:
                    error.add_note(f"what was kept by then could not be removed ({left.message}); 'boulder gc' does it")
            raise
    if not passing:
        context.bus.publish(CheckpointTaken(workspace=record.id, name=record.name, checkpoint=entry.checkpoint))
    return entry


async def _refuse_name(context: Context, record: WorkspaceRecord, name: str | None) -> None:
    if name is None:
        return
    if re.match(NAME_PATTERN, name) is None or name.endswith("\n"):
        raise InvalidArgument(
            f"{name!r} cannot be the name of a checkpoint",
            hint="use letters, digits, '.', '_', '-' and spaces, a letter or digit first, at most 63",
            details={"name": name},
        )
    if any(entry.checkpoint.name == name for entry in await of_workspace(context, record)):
        raise AlreadyExists(
            f"workspace {record.name!r} has a checkpoint {name!r} already",
            hint=f"choose another name, or delete that one: boulder ws checkpoint delete {record.name} {name!r}",
            details={"name": name},
        )


async def keeper_of(context: Context, record: WorkspaceRecord) -> SupportsCheckpoints | None:
    """Return the provider as one that keeps places; ``None`` where it cannot.

    Raises:
        ProviderUnavailable: When it does not say. A checkpoint without the place must not come of a slow answer.
    """
    provider: Provider = await context.backends.provider(record.backend)
    if not isinstance(provider, SupportsCheckpoints):
        return None
    able = context.backends.known_capabilities(record.backend)
    return provider if Capability.CHECKPOINTS in (able or await _asked(context, record.backend)) else None


async def _asked(context: Context, backend: str) -> frozenset[Capability]:
    asked = 1
    while not (info := await context.backends.probe(backend)).available:
        if asked == _PROBES:
            raise ProviderUnavailable(
                f"the {backend} backend does not say what it can do: {info.detail}",
                hint=info.hint or "try again; 'boulder doctor' says what is wrong with it",
                details={"provider": backend},
            )
        asked += 1
    return info.capabilities


async def _take(
    context: Context,
    record: WorkspaceRecord,
    place: Place,
    keeper: SupportsCheckpoints | None,
    identifier: CheckpointId,
    *,
    processes: bool,
) -> CheckpointEntry:
    trees: list[KeptTree] = []
    places: list[KeptPlace] = []
    gone = place.seen.state is InstanceState.GONE

    async def keep_tree() -> None:
        trees.append(await context.trees.keep(record.name, identifier))

    async def keep_place(provider: SupportsCheckpoints) -> None:
        labels = labels_of(context, record)
        places.append(await provider.keep_place(reference(record), identifier, labels, processes=processes))

    async with AsyncExitStack() as held:
        if record.isolation == "clone":
            await held.enter_async_context(context.locks.repository(f"taking a checkpoint of {record.name}"))
        frozen = await held.enter_async_context(standing_still(context, record, place))
        if record.isolation == "clone":
            await context.worktrees.bring_back(record.name)
        if keeper is None or gone:
            await keep_tree()
        else:
            await both(keep_tree, lambda: keep_place(keeper))
    return entry_of(record, identifier, trees[0], places[0] if places else None, able=keeper is not None, frozen=frozen)


def labels_of(context: Context, record: WorkspaceRecord) -> Mapping[str, str]:
    """Return the labels of what a provider keeps for a workspace's checkpoints. None names it as something of the workspace's own."""
    return {
        LABEL_NAME: record.name,
        LABEL_NODE: record.node or context.node,
        LABEL_REPOSITORY: str(record.repository.root),
    }


@asynccontextmanager
async def standing_still(context: Context, record: WorkspaceRecord, place: Place) -> AsyncGenerator[bool, None]:
    """Freeze a workspace that runs, and its services, for the block; say whether nothing moves. Then they go on.

    No command starts meanwhile: one that is asked for waits.

    Raises:
        OperationTimeout: When the block took too long.
    """
    if place.seen.state is not InstanceState.RUNNING:
        yield True
        return
    instance = place.instance
    if not isinstance(instance, SupportsPause):
        yield False
        return
    pausable: SupportsPause = instance
    async with context.in_use.still(record.id):
        try:
            with anyio.fail_after(FROZEN_LIMIT):
                await services_life.freeze(record, pausable)
                yield True
        except TimeoutError as error:
            if isinstance(error, NexusError):
                raise
            raise OperationTimeout(
                f"a checkpoint of {record.name!r} was not taken within {FROZEN_LIMIT:g} s, and it may not stand still for longer",
                details={"workspace": record.name},
            ) from error
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP_LIMIT):
                await services_life.thaw(record, pausable)


async def delete(context: Context, record: WorkspaceRecord, entry: CheckpointEntry) -> None:
    """Remove a checkpoint with everything that was kept for it. The caller holds the workspace's lock.

    Cancellation: it is carried on, for up to a minute.
    """
    facts = {"checkpoint": str(entry.checkpoint.id)}
    async with underway(context, record, Operation.DELETE_CHECKPOINT, settle_deletion, facts=facts):
        await remove(context, entry)


async def remove(context: Context, entry: CheckpointEntry) -> None:
    """Remove what was kept, then the note: what is left after a failure is still listed. May be called twice."""
    await discard(context, entry.checkpoint.backend, entry.checkpoint.id)
    await context.checkpoints.delete(entry)
    if not entry.passing:
        gone = entry.checkpoint
        context.bus.publish(CheckpointDeleted(workspace=gone.workspace, name=gone.workspace_name, checkpoint=gone))


async def discard(context: Context, backend: str, identifier: CheckpointId) -> None:
    """Remove what is kept under a checkpoint's id: the place's files, and the ref."""
    provider = await context.backends.provider(backend)
    if isinstance(provider, SupportsCheckpoints):
        await provider.drop_place(identifier)
    for ref, commit in (await context.trees.refs()).items():
        if ref.endswith(f"/{identifier}"):
            await context.trees.drop(ref, expected=commit)


async def settle(context: Context, entry: JournalEntry) -> None:
    """Settle a checkpoint that was cut short. The caller holds the workspace's lock."""
    identifier, record = CheckpointId(str(entry.facts.get("checkpoint"))), await record_of(context, entry)
    if record is None:
        return  # what was kept is found by its labels, and by its ref
    if entry.facts.get("ran"):
        await let_go_on(context, record)
    if all(each.checkpoint.id != identifier for each in await context.checkpoints.load(record.name)):
        await discard(context, record.backend, identifier)


async def settle_deletion(context: Context, entry: JournalEntry) -> None:
    """Carry on a deletion that was cut short."""
    for each in await context.checkpoints.load(entry.name):
        if each.checkpoint.id == entry.facts.get("checkpoint"):
            await remove(context, each)
