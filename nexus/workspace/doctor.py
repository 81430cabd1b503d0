"""``doctor``: look at the node, the repository and every workspace; say what is wrong and, on request, put it right."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal

import anyio

from nexus import git
from nexus.errors import NexusError
from nexus.models.findings import Finding
from nexus.models.instances import ProviderInfo
from nexus.models.ports import PortRange
from nexus.models.workspace import DamagedRecord, WorkspaceInfo, WorkspaceStatus
from nexus.ports import ephemeral_overlap, reservation_command
from nexus.workspace import kept_volumes
from nexus.workspace.context import Context
from nexus.workspace.destruction import revive
from nexus.workspace.hibernating import can_hibernate
from nexus.workspace.observing import list_all
from nexus.workspace.placing import wanted_grounds
from nexus.workspace.rebuilding import adopt, lost, rebuild
from nexus.workspace.registry_check import examine_registry
from nexus.workspace.sweeping import sweep

PROBE_TIMEOUT = 3.0
LOW_DISK = 1024**3


@dataclass(frozen=True, kw_only=True)
class Round:
    """One examination."""

    context: Context
    fix: bool
    backends: tuple[ProviderInfo, ...]

    @property
    def silent(self) -> frozenset[str]:
        """Backends that do not answer. Nobody waits for them a second time."""
        return frozenset(info.name for info in self.backends if not info.available)


async def examine(context: Context, *, fix: bool) -> tuple[Finding, ...]:
    """Look at everything; with ``fix`` settle, rebuild and remove what can be, never losing work."""
    about = Round(context=context, fix=fix, backends=await probe_all(context))
    findings: list[Finding] = []
    for part in (
        _registry,
        _backends,
        _repository,
        _tampering,
        _records,
        _lost,
        _leftovers,
        _current,
        _branches,
        _workspaces,
        _volumes,
        _ports,
        _disk,
    ):
        try:
            async for finding in part(about):
                findings.append(finding)  # noqa: PERF401 - what was found before a part gave up is kept
        except NexusError as error:
            # What keeps one part from looking, a pipe in place of a file for instance, must not hide what the others see.
            findings.append(
                Finding(check=part.__name__.strip("_"), level="error", message=error.message, hint=error.hint)
            )
    return tuple(findings)


async def _volumes(about: Round) -> AsyncGenerator[Finding, None]:
    """Name the volumes that were kept of destroyed workspaces."""
    async for finding in kept_volumes.findings(about.context, without=about.silent):
        yield finding


async def probe_all(context: Context) -> tuple[ProviderInfo, ...]:
    """Ask every backend at once what it is and can do; a silent one is reported as not available."""
    found: dict[str, ProviderInfo] = {}

    async def probe(name: str) -> None:
        try:
            with anyio.fail_after(PROBE_TIMEOUT):
                found[name] = await context.backends.probe(name)
        except NexusError as error:
            found[name] = ProviderInfo(name=name, available=False, detail=error.message, hint=error.hint)
        except TimeoutError:
            found[name] = ProviderInfo(name=name, available=False, detail=f"no answer within {PROBE_TIMEOUT:.0f} s")

    async with anyio.create_task_group() as group:
        for name in context.backends.names():
            group.start_soon(probe, name)
    return tuple(found[name] for name in sorted(found))


async def _registry(about: Round) -> AsyncGenerator[Finding, None]:
    async for finding in examine_registry(about.context, fix=about.fix):
        yield finding


async def _backends(about: Round) -> AsyncGenerator[Finding, None]:
    """One that is not available is wrong only where somebody uses it."""
    records, _ = await about.context.records.all()
    used = Counter(record.backend for record in records)
    for info in about.backends:
        check, chosen = f"backend {info.name}", info.name == about.context.settings.backend
        if info.available:
            yield Finding(check=check, level="ok", message=info.detail or "available", hint=info.hint)
            if chosen and about.context.settings.switch == "checkpoint" and not can_hibernate(info):
                yield Finding(
                    check=check,
                    level="info",
                    message="defaults.switch is checkpoint: files are kept, and programs end, because it cannot keep them",
                    hint="docker does with --experimental and a working CRIU on its host; pause keeps programs anywhere, in memory",
                )
        elif used[info.name] or chosen:
            whose = f"{used[info.name]} of the workspaces here" if used[info.name] else "new workspaces"
            message = f"{info.detail}; {whose} would run there"
            yield Finding(check=check, level="error", message=message, hint=info.hint)
        else:
            message = f"not available, and nothing here uses it: {info.detail}"
            yield Finding(check=check, level="info", message=message, hint=info.hint)


async def _repository(about: Round) -> AsyncGenerator[Finding, None]:
    context = about.context
    root = context.repository.root
    try:
        await context.worktrees.resolve("HEAD")
    except NexusError as error:
        yield Finding(check="git", level="error", message=error.message, hint=error.hint)
        return
    if about.fix:
        await context.worktrees.exclude()
    yield Finding(check="git", level="ok", message=f"repository at {root}")
    wanted = await anyio.to_thread.run_sync(wanted_grounds, context.repository, context.settings)
    if context.repository.grounds != wanted:
        here, there = context.repository.grounds or root / ".nexus", wanted or root / ".nexus"
        message = f"workspaces stay in {here} as long as one is there; the node's file puts new ones into {there}"
        yield Finding(
            check="workspace_root",
            level="info",
            message=message,
            hint="destroy those there are, and drop what was kept",
        )


async def _tampering(about: Round) -> AsyncGenerator[Finding, None]:
    """Tell what somebody inside a workspace changed to be obeyed outside. Never put right here: what it was is evidence."""
    try:
        found = await git.examine(about.context.repository)
    except NexusError as error:
        yield Finding(check="tampering", level="error", message=error.message, hint=error.hint)
        return
    for entry in found:
        check = "tampering" if entry.name is None else f"tampering {entry.name}"
        yield Finding(check=check, level=entry.level, message=entry.message, hint=entry.hint)
    if not found:
        yield Finding(check="tampering", level="ok", message="git's own files lead where they should")


async def _records(about: Round) -> AsyncGenerator[Finding, None]:
    _, damaged = await about.context.records.all()
    if not damaged:
        yield Finding(check="records", level="ok", message="every record can be read")
    for record in damaged:
        yield await _damaged(about, record)


async def _damaged(about: Round, damaged: DamagedRecord) -> Finding:
    sentence = f"the record of {damaged.name!r} is damaged: {damaged.reason}"
    if not about.fix:
        return Finding(check="records", level="error", message=sentence, hint="'boulder doctor --fix' rebuilds it")
    try:
        done = await rebuild(about.context, damaged, without=about.silent)
    except NexusError as error:
        return Finding(check="records", level="error", message=f"{sentence}; {error.message}", hint=error.hint)
    return Finding(check="records", level="warning", message=f"{sentence}; {done}", fixed=True)


async def _lost(about: Round) -> AsyncGenerator[Finding, None]:
    """Workspaces whose record somebody deleted. Before the leftovers, which what nobody misses belongs to."""
    for found in await lost(about.context, without=about.silent):
        sentence = f"the record of {found.name!r} is gone, but not what belongs to it"
        if not about.fix:
            yield Finding(check="records", level="error", message=sentence, hint="'boulder doctor --fix' rebuilds it")
            continue
        try:
            if await adopt(about.context, found.name, without=about.silent):
                done = f"{sentence}; rebuilt from its worktree, its claim and its instance"
                yield Finding(check="records", level="warning", message=done, fixed=True)
        except NexusError as error:
            message = f"{sentence}; {error.message}"
            yield Finding(check="records", level="error", message=message, hint=error.hint)


async def _leftovers(about: Round) -> AsyncGenerator[Finding, None]:
    context, fix = about.context, about.fix
    try:
        swept = await sweep(context, dry_run=not fix, without=about.silent)
        actions = [action for action in swept if action.kind != "expired" or fix]
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


async def _current(about: Round) -> AsyncGenerator[Finding, None]:
    """The current workspace has to be one that there is."""
    store = about.context.store
    name = await store.current()
    if name is None or name in await store.names():
        return
    sentence = f".nexus/current names workspace {name!r}, and there is none"
    if not about.fix:
        hint = "'boulder doctor --fix' clears it; 'boulder ws switch NAME' names another"
        yield Finding(check="current", level="warning", message=sentence, hint=hint)
        return
    try:
        await store.set_current(None)
    except NexusError as error:
        yield Finding(check="current", level="error", message=f"{sentence}; {error.message}", hint=error.hint)
    else:
        yield Finding(check="current", level="warning", message=f"{sentence}; it was cleared", fixed=True)


async def _branches(about: Round) -> AsyncGenerator[Finding, None]:
    """Branches that somebody deleted while they were checked out; their commits are safe until git collects its garbage."""
    context = about.context
    records, _ = await context.records.all()
    lost_ones = await context.worktrees.lost_branches()
    for record in records:
        if record.name not in lost_ones:
            continue
        sentence = f"branch {record.branch} is gone, and workspace {record.name!r} works on it"
        hint = f"look for its last commit in {record.worktree_path}: git reflog"
        try:
            fixed = about.fix and await revive(context, record)
        except NexusError as error:
            fixed, hint = False, error.hint or hint
        if fixed:
            sentence += "; it was made again at its last commit"
        elif not about.fix:
            hint = "'boulder doctor --fix' makes it again at its last commit"
        level: Literal["warning", "error"] = "warning" if fixed else "error"
        yield Finding(
            check=f"branch {record.name}", level=level, message=sentence, hint=None if fixed else hint, fixed=fixed
        )


async def _workspaces(about: Round) -> AsyncGenerator[Finding, None]:
    for entry in await list_all(about.context, without=about.silent):
        if not isinstance(entry, WorkspaceInfo):
            continue
        if not await anyio.Path(entry.worktree_path).is_dir():
            yield Finding(
                check=f"workspace {entry.name}",
                level="error",
                message=f"its work tree {entry.worktree_path} is gone, moved or deleted by somebody; "
                f"branch {entry.branch} still holds what was committed",
                hint=f"if it was moved, move it back; else 'boulder ws destroy {entry.name} --force' keeps what is left "
                f"and 'boulder ws restore {entry.name}' makes it again",
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


async def _ports(about: Round) -> AsyncGenerator[Finding, None]:
    """The overlap is no fault: a lease is probed before it is used, and replaced when it is taken. Only a fixed port cannot be."""
    records, _ = await about.context.records.all()
    for record in records:
        for mapping in record.port_mappings:
            alone = PortRange(start=mapping.host_port, end=mapping.host_port)
            if mapping.fixed and ephemeral_overlap(alone) is not None:
                yield Finding(
                    check="ports",
                    level="warning",
                    message=f"the system may hand fixed port {mapping.host_port} of {record.name!r} to any program, "
                    "and it cannot be replaced then",
                    hint=reservation_command(alone),
                )
    ours = about.context.settings.port_range
    overlap = ephemeral_overlap(ours)
    if overlap is None:
        yield Finding(check="ports", level="ok", message="the system's own port range stays clear of the workspaces'")
        return
    yield Finding(
        check="ports",
        level="info",
        message=f"the system may hand ports {overlap[0]} to {overlap[1]} to any program, and workspaces use them too; "
        "a port that is taken is replaced and announced",
        hint=reservation_command(ours),
    )


async def _disk(about: Round) -> AsyncGenerator[Finding, None]:
    root = about.context.repository.root
    usage = await anyio.to_thread.run_sync(shutil.disk_usage, root)
    free = f"{usage.free / LOW_DISK:.1f} GiB free at {root}"
    if usage.free < LOW_DISK:
        yield Finding(check="disk", level="warning", message=free, hint="'boulder ws destroy' what is not needed")
    else:
        yield Finding(check="disk", level="ok", message=free)
