"""How a creation begins: what can be checked without a trace is, then its journal is opened."""

from __future__ import annotations

from nexus.abc import ProgressCallback
from nexus.config import ConfigStack
from nexus.errors import (
    AlreadyExists,
    BranchInUse,
    RecordDamaged,
    WorkspaceNotFound,
)
from nexus.git import GitIdentity, read_identity
from nexus.models.instances import Capability
from nexus.models.requests import CreateRequest
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace import references, service_trust, services_life
from nexus.workspace.activity import chosen_patience
from nexus.workspace.at_once import both
from nexus.workspace.context import Context
from nexus.workspace.creation import Creation, fork_of
from nexus.workspace.creation_undo import FORKED, branch_tip
from nexus.workspace.environment import refuse_own_secrets
from nexus.workspace.forked_records import forked
from nexus.workspace.hook_plan import admit, remembered
from nexus.workspace.plan import CreateStep, Operation, create_steps
from nexus.workspace.privacy import close_folders
from nexus.workspace.records import draft
from nexus.workspace.refilling import refill
from nexus.workspace.reporting import reporter
from nexus.workspace.resizing import chosen_resources


async def begin(context: Context, request: CreateRequest, progress: ProgressCallback | None) -> Creation:
    """Check what can be checked without a trace, then open the journal. The caller holds the workspace's lock.

    Raises:
        AlreadyExists: When a workspace, or the damaged record of one, has this name.
        UnbornHead, RefNotFound: When there is no commit to start from.
        ProviderNotFound: When the backend has no driver.
        NotTrusted: When the project's scripts would run on this host and are not approved.
        InvalidArgument: When the request's own settings name secrets.
    """
    await close_folders(context, make=True)
    await _refuse_existing(context, request.name)
    await drop_stale_claim(context, request.name)
    await refill(context)
    stack = context.stack.with_flags(request.settings) if request.settings else context.stack
    refuse_own_secrets(context, stack.settings)
    record, base = await (_new if request.fork is None else _forked)(context, request, stack)
    there = await branch_tip(context, record)
    if there is not None:
        _refuse_branch(request, record, same=there == base)
        record = record.model_copy(update={"branch_created": False})
    asked = request.fork is None
    if asked:
        record = remembered(record, request, stack)
    if request.start:
        # What a fork runs was approved for the workspace that it is forked from, or is not.
        await admit(context, record, new=asked)
        await service_trust.check(context, record, new=asked)
    if asked:
        await references.remember(context, record)
    journal = await context.journal.begin(
        operation=Operation.CREATE,
        workspace=record.id,
        name=record.name,
        plan=create_steps(start=request.start),
        facts={"record": record.model_dump(mode="json"), "request": request.model_dump(mode="json")},
        doing=(CreateStep.CLAIM,),
    )
    report = reporter(context.bus, record, progress)
    if stack.adopted is not None:
        report("settings", stack.adopted.summary)
    return Creation(context, record, journal, report)


async def _new(context: Context, request: CreateRequest, stack: ConfigStack) -> tuple[WorkspaceRecord, str]:
    """Return the record of a workspace as it is configured, and the commit that it starts from."""
    await context.backends.provider(stack.settings.backend)  # one without a driver is told of before anything is begun
    worktrees = context.worktrees
    base, identity = await both(
        lambda: (
            worktrees.resolve(request.start_point)
            if request.restore is None
            else worktrees.restorable_tip(request.restore)
        ),
        lambda: told_identity(context, stack.settings.backend, told=stack.settings.git_identity),
    )
    record = draft(
        request,
        stack.settings,
        context.repository,
        branch=worktrees.branch(request.name),
        base_commit=base,
        worktree=worktrees.path(request.name),
        identity=identity,
        chosen={**chosen_patience(stack), **chosen_resources(stack)},
    ).model_copy(update={"node": context.node})
    if record.services:
        services_life.refuse(record, await context.backends.probe(record.backend))
    return record, base


async def _forked(context: Context, request: CreateRequest, stack: ConfigStack) -> tuple[WorkspaceRecord, str]:
    """Return the record of a workspace as another one was, under a name of its own, and the commit that it starts from."""
    del stack
    entry = await fork_of(context, request.fork or "")
    base = await context.worktrees.restorable_tip(entry.checkpoint.ref)
    branch, tree = context.worktrees.branch(request.name), context.worktrees.path(request.name)
    record = forked(entry.record, request, branch=branch, base_commit=base, worktree=tree)
    await references.inherit(context, record, entry.record)
    origin = {**record.config, FORKED: str(entry.checkpoint.id)}
    return record.model_copy(update={"node": context.node, "config": origin}), base


async def told_identity(context: Context, backend: str, *, told: bool) -> GitIdentity | None:
    """Return whom git inside commits for; ``None`` where it runs on this host and knows by itself."""
    info = await context.backends.probe(backend)
    if info.available and Capability.ISOLATION not in info.capabilities:
        return None
    return await read_identity(context.repository) if told else GitIdentity()


def _refuse_branch(request: CreateRequest, record: WorkspaceRecord, *, same: bool) -> None:
    """Refuse a branch that is there, unless it is to be used. Said before the journal is opened: it is not ours to undo."""
    if same if request.restore is not None else request.adopt_branch:
        return
    moved = " and is not where it was when this was kept" if request.restore is not None else ""
    raise BranchInUse(
        f"branch {record.branch!r} exists already{moved}",
        hint="restore it under another name (--as NAME)"
        if request.restore is not None
        else "use it with adopt_branch (--adopt-branch), or choose another name",
        details={"branch": record.branch},
    )


async def drop_stale_claim(context: Context, name: str) -> None:
    """Remove a reservation of this name that has no record: its state was deleted by hand. The caller holds the lock."""
    claim = await context.registry.claim_of(context.repository.root, name)
    if claim is not None:
        await context.allocator.release(claim.id)
        await context.registry.unclaim(claim.id)


async def _refuse_existing(context: Context, name: str) -> None:
    try:
        existing = await context.records.load(name)
    except WorkspaceNotFound:
        return
    except RecordDamaged as damaged:
        raise AlreadyExists(
            f"a damaged record of workspace {name!r} is in the way: {damaged.message}",
            hint="run 'boulder doctor --fix' to rebuild it from what is there",
            details={"name": name},
        ) from damaged
    raise AlreadyExists(
        f"workspace {name!r} exists already ({existing.status})",
        hint=f"use it with 'boulder ws up {name}', or choose another name",
        details={"name": name, "id": existing.id},
    )
