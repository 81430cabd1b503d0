"""``doctor``: look at the node, the repository and every workspace; say what is wrong and, on request, put it right."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator

import anyio

from nexus import git
from nexus.errors import NexusError
from nexus.models.findings import Finding
from nexus.models.instances import ProviderInfo
from nexus.models.workspace import DamagedRecord, WorkspaceInfo, WorkspaceStatus
from nexus.ports import ephemeral_overlap, reservation_command
from nexus.workspace import kept_volumes
from nexus.workspace.context import Context
from nexus.workspace.observing import list_all
from nexus.workspace.rebuilding import rebuild
from nexus.workspace.sweeping import sweep

PROBE_TIMEOUT = 3.0
LOW_DISK = 1024**3


async def examine(context: Context, *, fix: bool) -> tuple[Finding, ...]:
    """Look at everything; with ``fix`` settle, rebuild and remove what can be, never losing work."""
    findings: list[Finding] = []
    for part in (
        _backends,
        _repository,
        _tampering,
        _records,
        _leftovers,
        _workspaces,
        kept_volumes.findings,
        _ports,
        _disk,
    ):
        findings += [finding async for finding in part(context, fix)]
    return tuple(findings)


async def probe_all(context: Context) -> tuple[ProviderInfo, ...]:
    """Ask every backend at once what it is and can do; a silent one is reported as not available."""
    found: dict[str, ProviderInfo] = {}

    async def probe(name: str) -> None:
        try:
            with anyio.fail_after(PROBE_TIMEOUT):
                provider = await context.provider(name)
                found[name] = await provider.probe()
        except NexusError as error:
            found[name] = ProviderInfo(name=name, available=False, detail=error.message, hint=error.hint)
        except TimeoutError:
            found[name] = ProviderInfo(name=name, available=False, detail=f"no answer within {PROBE_TIMEOUT:.0f} s")

    async with anyio.create_task_group() as group:
        for name in context.providers.names():
            group.start_soon(probe, name)
    return tuple(found[name] for name in sorted(found))


async def _backends(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:  # noqa: ARG001 - one shape for all parts
    records, _ = await context.records()
    needed = {context.settings.backend, *(record.backend for record in records)}
    for info in await probe_all(context):
        level = "ok" if info.available else ("error" if info.name in needed else "warning")
        yield Finding.model_validate(
            {"check": f"backend {info.name}", "level": level, "message": info.detail or "available", "hint": info.hint}
        )


async def _repository(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:
    root = context.repository.root
    try:
        await context.worktrees.resolve("HEAD")
    except NexusError as error:
        yield Finding(check="git", level="error", message=error.message, hint=error.hint)
        return
    if fix:
        await context.worktrees.exclude()
    yield Finding(check="git", level="ok", message=f"repository at {root}")


async def _tampering(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:  # noqa: ARG001
    """Tell what somebody inside a workspace changed to be obeyed outside. Never put right here: what it was is evidence."""
    try:
        found = await git.examine(context.repository)
    except NexusError as error:
        yield Finding(check="tampering", level="error", message=error.message, hint=error.hint)
        return
    for entry in found:
        check = "tampering" if entry.name is None else f"tampering {entry.name}"
        yield Finding(check=check, level=entry.level, message=entry.message, hint=entry.hint)
    if not found:
        yield Finding(check="tampering", level="ok", message="git's own files lead where they should")


async def _records(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:
    _, damaged = await context.records()
    if not damaged:
        yield Finding(check="records", level="ok", message="every record can be read")
    for record in damaged:
        yield await _damaged(context, record, fix)


async def _damaged(context: Context, damaged: DamagedRecord, fix: bool) -> Finding:
    sentence = f"the record of {damaged.name!r} is damaged: {damaged.reason}"
    if not fix:
        return Finding(check="records", level="error", message=sentence, hint="'boulder doctor --fix' rebuilds it")
    try:
        done = await rebuild(context, damaged)
    except NexusError as error:
        return Finding(check="records", level="error", message=f"{sentence}; {error.message}", hint=error.hint)
    return Finding(check="records", level="warning", message=f"{sentence}; {done}", fixed=True)


async def _leftovers(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:
    try:
        actions = [action for action in await sweep(context, dry_run=not fix) if action.kind != "expired" or fix]
    except NexusError as error:
        yield Finding(check="leftovers", level="error", message=error.message, hint=error.hint)
        return
    if not actions:
        yield Finding(check="leftovers", level="ok", message="nothing half-made, nothing without an owner")
    for action in actions:
        settled = action.action in {"removed", "finished", "undone"}
        yield Finding(
            check="leftovers",
            level="warning" if settled or not fix else "error",
            message=f"{action.kind} {action.name}: {action.reason} ({action.action})",
            hint=None if settled else "'boulder doctor --fix' settles what can be settled without losing work",
            fixed=settled,
        )


async def _workspaces(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:  # noqa: ARG001
    for entry in await list_all(context):
        if not isinstance(entry, WorkspaceInfo):
            continue
        if not await anyio.Path(entry.worktree_path).is_dir():
            yield Finding(
                check=f"workspace {entry.name}",
                level="error",
                message=f"its work tree {entry.worktree_path} is gone; branch {entry.branch} still holds what was committed",
                hint=f"'boulder ws destroy {entry.name}' removes the rest",
            )
        elif entry.missing:
            hint = f"'boulder ws up {entry.name}' makes it again around the worktree"
            yield Finding(
                check=f"workspace {entry.name}", level="warning", message=entry.status_message or "", hint=hint
            )
        elif entry.status is WorkspaceStatus.ERROR:
            hint = f"'boulder ws up {entry.name}' tries again"
            yield Finding(
                check=f"workspace {entry.name}", level="error", message=entry.status_message or "failed", hint=hint
            )


async def _ports(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:  # noqa: ARG001
    overlap = ephemeral_overlap()
    if overlap is None:
        yield Finding(check="ports", level="ok", message="the system's own port range stays clear of the workspaces'")
        return
    yield Finding(
        check="ports",
        level="warning",
        message=f"the system may hand ports {overlap[0]} to {overlap[1]} to any program, and workspaces use them too; "
        "a port that is taken is replaced and announced",
        hint=reservation_command(),
    )


async def _disk(context: Context, fix: bool) -> AsyncGenerator[Finding, None]:  # noqa: ARG001
    usage = await anyio.to_thread.run_sync(shutil.disk_usage, context.repository.root)
    free = f"{usage.free / LOW_DISK:.1f} GiB free at {context.repository.root}"
    if usage.free < LOW_DISK:
        yield Finding(check="disk", level="warning", message=free, hint="'boulder ws destroy' what is not needed")
    else:
        yield Finding(check="disk", level="ok", message=free)
