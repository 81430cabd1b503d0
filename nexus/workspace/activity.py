"""What goes on in a workspace: gathered for the decision whether it stays awake."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from nexus.abc import SupportsActivity, SupportsPause
from nexus.config import ConfigStack
from nexus.errors import NexusError
from nexus.models.activity import FROM_THE_FUTURE, RunningCommand
from nexus.models.instances import Capability
from nexus.models.units import parse_duration
from nexus.models.workspace import WorkspaceInfo, WorkspaceRecord, WorkspaceStatus
from nexus.workspace.context import Context
from nexus.workspace.idle import Patience, Signals, decide
from nexus.workspace.lifecycle import observed

_OWN: Final = {"idle_timeout": "defaults.idle_timeout", "stop_after": "defaults.stop_after"}
_NEVER: Final = "never"


def chosen_patience(stack: ConfigStack) -> dict[str, JsonValue]:
    """Return the spans that were asked for at this creation, for its record. The files' are read anew whenever they matter."""
    chosen: dict[str, JsonValue] = {}
    for name, key in _OWN.items():
        if stack.is_passing(key):
            value = stack.get(key)
            chosen[name] = _NEVER if value is None else value
    return chosen


def patience(context: Context, record: WorkspaceRecord) -> Patience:
    """Return how long nothing may happen in a workspace: as it was created with, else as the files say now."""
    settings = context.settings
    return Patience(
        idle=_span(record, "idle_timeout", settings.idle_timeout), stop=_span(record, "stop_after", settings.stop_after)
    )


def _span(record: WorkspaceRecord, name: str, configured: timedelta | None) -> timedelta | None:
    own = record.config.get(name)
    if own is None:
        return configured
    return None if own == _NEVER else parse_duration(own)


async def glance(context: Context, record: WorkspaceRecord, *, pressed: bool = False) -> Signals:
    """Return what our own files say. Quick: no backend is asked.

    Args:
        context: The parts.
        record: The workspace.
        pressed: Whether memory is short and it is this workspace's turn to give up its own.
    """
    return Signals(
        status=record.status,
        last_active=_last_active(context, record),
        holds=await context.holds.load(record.id),
        asleep_since=record.asleep_since or record.left_at,
        expires_at=record.expires_at,
        pressed=pressed,
    )


def _last_active(context: Context, record: WorkspaceRecord) -> datetime:
    """Return when it was last in use. A time of before the clock was set back is not believed where there is another."""
    known = [moment for moment in (record.last_active, context.in_use.last(record.id)) if moment is not None]
    latest = context.clock.now() + FROM_THE_FUTURE
    return max((moment for moment in known if moment <= latest), default=max(known))


async def examine(context: Context, record: WorkspaceRecord, *, pressed: bool = False) -> Signals:
    """Return the same with what the backend sees.

    Raises:
        NexusError: When the backend cannot be had at all; what it does not answer counts as a reason to stay awake.
    """
    instance = await context.backends.instance(record)
    status, _, missing = observed(record.status, record.status_message, await instance.status())
    seen = await glance(context, record, pressed=pressed)
    running = status is WorkspaceStatus.RUNNING and not missing
    info = await context.backends.probe(record.backend)
    commands = await running_commands(context, record) if running else ()
    return Signals(
        status=status if not missing else WorkspaceStatus.STOPPED,
        last_active=seen.last_active,
        # A backend that is too slow to say what it can do is not one that cannot pause: nothing is ended for that.
        commands=commands if info.available else None,
        holds=seen.holds,
        asleep_since=seen.asleep_since,
        expires_at=seen.expires_at,
        pressed=seen.pressed,
        can_pause=isinstance(instance, SupportsPause) and Capability.PAUSE in info.capabilities,
    )


async def running_commands(context: Context, record: WorkspaceRecord) -> tuple[RunningCommand, ...] | None:
    """Return what runs, by the backend's own knowledge, else by that of this process; ``None`` when it does not answer."""
    try:
        instance = await context.backends.instance(record)
        if isinstance(instance, SupportsActivity):
            return await instance.commands()
    except NexusError:
        return None
    return context.in_use.attended(record.id)


async def told(context: Context, record: WorkspaceRecord, info: WorkspaceInfo) -> WorkspaceInfo:
    """Return what users see with what keeps it awake."""
    if info.status is not WorkspaceStatus.RUNNING or info.missing:
        return info
    seen = await glance(context, record)
    signals = Signals(
        status=info.status,
        last_active=seen.last_active,
        commands=await running_commands(context, record),
        holds=seen.holds,
        typed=context.typed(record.id),
        expires_at=None,
    )
    verdict = decide(signals, patience(context, record), context.clock.now())
    return info.model_copy(update={"awake_because": verdict.because})
