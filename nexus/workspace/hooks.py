"""When scripts and hooks run in a workspace's life, and what follows when one fails.

What has to succeed before a workspace counts as started (``initialize``, ``pre-start``) fails the start. What comes after it
(``post-create``,
``on_wake``, ``post-start``) leaves it running and degraded; those after the one that failed are not run, and all of them are due.
What runs on the way down (``on_sleep``, ``pre-stop``) is a warning at most. Nothing configured costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Final

import anyio

from nexus.abc import Instance, ProgressCallback
from nexus.errors import HookFailed, NexusError, StateConflict
from nexus.models.hooks import Hook, HookName, HookResult
from nexus.models.instances import InstanceState
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.hook_host import run_on_host
from nexus.workspace.hook_plan import KEPT, admit, planned
from nexus.workspace.hook_run import GRACE, run_hook
from nexus.workspace.reporting import reporter

_log = logging.getLogger(__name__)

_UP: Final = (HookName.POST_CREATE, HookName.ON_WAKE, HookName.POST_START)
_LONGEST_FAREWELL: Final = 600.0
"""Seconds that a script without a time limit may hold up a stop."""
_MARGIN: Final = 30.0
"""Seconds that ending it may take on top."""


def has_hooks(context: Context, record: WorkspaceRecord) -> bool:
    """Return whether anything is configured at all."""
    return bool(context.settings.hooks) or KEPT in record.config


async def check(context: Context, record: WorkspaceRecord) -> None:
    """Raise ``NotTrusted`` before anything is started when a script is not approved, those of the way down included."""
    if has_hooks(context, record):
        await admit(context, record)


async def before_everything(context: Context, record: WorkspaceRecord, report: ProgressCallback) -> None:
    """Run ``initialize`` on this host. Nothing of the workspace runs yet.

    Raises:
        HookFailed: When it fails.
        NotTrusted: When it is not approved.
    """
    if not has_hooks(context, record):
        return
    for hook in await admit(context, record, (HookName.INITIALIZE,)):
        result = await run_on_host(context, record, hook, report)
        if not result.ok:
            raise _failure(record, result)


async def before_services(
    context: Context,
    record: WorkspaceRecord,
    instance: Instance,
    report: ProgressCallback,
    *,
    but: Collection[HookName] = (),
) -> None:
    """Run ``pre-start``, unless a prebuilt image holds what it comes to. The instance runs; when the script fails it is stopped again.

    Raises:
        HookFailed: When it fails.
        NotTrusted: When it is not approved.
    """
    if not has_hooks(context, record):
        return
    if HookName.PRE_START in but:
        report(HookName.PRE_START, "its result is part of the prebuilt image")
        return
    for hook in await admit(context, record, (HookName.PRE_START,)):
        result = await run_hook(context, record, instance, hook, report)
        if not result.ok:
            error = _failure(record, result)
            await _stop_again(context, record, instance, error)
            raise error


async def after_services(
    context: Context, record: WorkspaceRecord, instance: Instance, report: ProgressCallback
) -> WorkspaceRecord:
    """Run what comes when everything is up, and return the record with what became of it."""
    if not has_hooks(context, record):
        return _settled(record)
    # Of what was due only that which happens once is still to be done; the rest happens at every start anyway.
    names = tuple(name for name in _UP if name is not HookName.POST_CREATE or name in record.hooks_due)
    return await _run_up(context, record, instance, await admit(context, record, names), report)


async def after_thaw(context: Context, record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    """Run ``on_wake`` in a workspace that goes on, and return the record with what became of it."""
    if not has_hooks(context, record):
        return record
    try:
        hooks = await admit(context, record, (HookName.ON_WAKE,))
    except NexusError as error:
        return record.model_copy(
            update={
                "degraded": f"{HookName.ON_WAKE} was not run: {error.message}",
                "hooks_due": _merged(record.hooks_due, [HookName.ON_WAKE]),
            }
        )
    if not hooks:
        return record
    still_due = [name for name in record.hooks_due if name != HookName.ON_WAKE]
    after = await _run_up(context, record, instance, hooks, reporter(context.bus, record, None))
    if not still_due:
        return after
    return after.model_copy(
        update={
            "degraded": after.degraded or record.degraded,
            "hooks_due": _merged(after.hooks_due, still_due),
        }
    )


async def before_freeze(context: Context, record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    """Run ``on_sleep`` in a workspace that is about to be paused, and return the record with what became of it."""
    return await _farewell(context, record, instance, (HookName.ON_SLEEP,))


async def before_stop(context: Context, record: WorkspaceRecord, instance: Instance) -> WorkspaceRecord:
    """Run ``on_sleep`` and ``pre-stop``, whatever state the workspace is in, and return the record with what became of it.

    One that is paused has been put to sleep already: it goes on for ``pre-stop`` alone, and only when there is one.
    """
    return await _farewell(context, record, instance, (HookName.ON_SLEEP, HookName.PRE_STOP))


async def retry(context: Context, record: WorkspaceRecord, progress: ProgressCallback | None = None) -> WorkspaceRecord:
    """Run again what is due. The caller holds the workspace's lock.

    Raises:
        StateConflict: When the workspace does not run.
        NotTrusted: When something of it is not approved.
    """
    instance = await context.backends.instance(record)
    seen = await instance.status()
    if seen.state is not InstanceState.RUNNING:
        raise StateConflict(
            f"workspace {record.name!r} does not run, so its scripts cannot",
            hint=f"start it, which runs them: boulder ws up {record.name}",
            details={"state": str(seen.state), "allowed": []},
        )
    names = tuple(name for name in HookName if name in record.hooks_due)
    hooks = await admit(context, record, names) if names else ()
    record = await _run_up(context, record, instance, hooks, reporter(context.bus, record, progress))
    await context.store.save(record)
    return record


async def _run_up(
    context: Context, record: WorkspaceRecord, instance: Instance, hooks: Sequence[Hook], report: ProgressCallback
) -> WorkspaceRecord:
    for index, hook in enumerate(hooks):
        result = await run_hook(context, record, instance, hook, report)
        if not result.ok:
            left = [later.name for later in hooks[index + 1 :]]
            skipped = f"; {', '.join(left)} {'was' if len(left) == 1 else 'were'} not run" if left else ""
            due = tuple(str(name) for name in (hook.name, *left))
            return record.model_copy(update={"degraded": result.sentence + skipped, "hooks_due": due})
    return _settled(record)


async def _farewell(
    context: Context, record: WorkspaceRecord, instance: Instance, names: tuple[HookName, ...]
) -> WorkspaceRecord:
    """Run scripts of the way down. Nothing that goes wrong in them is more than a warning."""
    if not has_hooks(context, record):
        return record
    try:
        return await _say_goodbye(context, record, instance, names)
    except NexusError as error:
        _log.warning("scripts of workspace %s on its way down: %s", record.name, error)
        return record.model_copy(update={"degraded": f"{names[-1]} was not run: {error.message}"})


async def _say_goodbye(
    context: Context, record: WorkspaceRecord, instance: Instance, names: tuple[HookName, ...]
) -> WorkspaceRecord:
    there = {entry.hook.name for entry in planned(context.stack, record)}
    configured = tuple(name for name in names if name in there)
    if not configured:
        return record
    seen = await instance.status()
    if seen.state is InstanceState.PAUSED:
        configured = tuple(name for name in configured if name is not HookName.ON_SLEEP)
        if configured:
            await instance.start()  # of a paused one: it goes on
    elif seen.state is not InstanceState.RUNNING:
        return record
    report = reporter(context.bus, record, None)
    problems: list[str] = []
    for hook in await admit(context, record, configured, ask=False):
        limit = _LONGEST_FAREWELL if hook.timeout is None else hook.timeout.total_seconds()
        with anyio.move_on_after(limit + GRACE + _MARGIN) as scope:
            result = await run_hook(context, record, instance, hook, report)
            if not result.ok:
                problems.append(result.sentence)
        if scope.cancelled_caught:
            problems.append(f"{hook.name} did not end in time")
    return record.model_copy(update={"degraded": "; ".join(problems)}) if problems else record


async def _stop_again(context: Context, record: WorkspaceRecord, instance: Instance, failure: HookFailed) -> None:
    grace = context.backends.stop_grace(record.backend)
    with anyio.CancelScope(shield=True), anyio.move_on_after(grace + _MARGIN):
        try:
            await instance.stop(grace=grace)
        except NexusError as error:
            failure.add_note(f"and the workspace could not be stopped again: {error.message}")


def _failure(record: WorkspaceRecord, result: HookResult) -> HookFailed:
    return HookFailed(
        f"{result.sentence}; workspace {record.name!r} was not started",
        tail=result.tail,
        hint=f"{result.hint or 'look at the log and correct the script'}; then start it again: boulder ws up {record.name}",
        details={
            "hook": str(result.hook),
            "exit_code": result.exit_code,
            "timed_out": result.timed_out,
            "log": None if result.log is None else str(result.log),
        },
    )


def _settled(record: WorkspaceRecord) -> WorkspaceRecord:
    if record.degraded is None and not record.hooks_due:
        return record
    return record.model_copy(update={"degraded": None, "hooks_due": ()})


def _merged(due: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    wanted = {*due, *more}
    return tuple(str(name) for name in HookName if name in wanted)
