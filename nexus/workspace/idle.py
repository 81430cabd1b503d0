"""Whether a workspace stays awake, and why: a pure decision over what was seen.

Idle is about work, not windows. A command that runs, what a user types on a terminal, and holds that somebody has named keep a
workspace awake; everything else is the time since something last happened. One that has been idle for ``idle_timeout`` is paused
where its backend can, stopped where it cannot; after ``stop_after`` asleep, or when memory is short, a paused one is stopped, which
frees its memory. One that a switch has left counts as asleep since then.
Only workspaces that were put to sleep here are stopped or woken here: one that its user paused or stopped stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from nexus.models.activity import FROM_THE_FUTURE, Hold, RunningCommand
from nexus.models.units import format_duration
from nexus.models.workspace import WorkspaceStatus

_NAMED: Final = 3
"""How many commands are named before the rest is counted."""


class Step(StrEnum):
    """What to do about a workspace."""

    KEEP = "keep"
    PAUSE = "pause"
    STOP = "stop"
    EXPIRE = "expire"
    """Its time is over: destroy it, unless work would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long nothing may happen. ``None``: for ever."""

    idle: timedelta | None
    """Until a workspace is put to sleep."""
    stop: timedelta | None
    """Until one that sleeps is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What was seen of one workspace."""

    status: WorkspaceStatus
    last_active: datetime
    """When a command last began or ended, or its user last typed something."""
    commands: Sequence[RunningCommand] | None = ()
    """What runs in it; ``None`` when that cannot be found out."""
    holds: Sequence[Hold] = ()
    typed: Sequence[tuple[str, datetime]] = ()
    """Terminals, by what they are called, and when somebody last typed there. It counts in ``last_active``; here it is told apart."""
    asleep_since: datetime | None = None
    expires_at: datetime | None = None
    can_pause: bool = True
    pressed: bool = False
    """Whether memory is short and it is this workspace's turn to give up its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows."""

    step: Step
    because: tuple[str, ...] = ()
    """What keeps it awake, one line each; the reason in words where something is done."""
    again: datetime | None = None
    """When to decide again, if nothing happens before; ``None``: only when something does."""


def decide(seen: Signals, patience: Patience, now: datetime) -> Verdict:
    """Return what to do about a workspace, and when to look again.

    Args:
        seen: What was seen.
        patience: How long nothing may happen.
        now: The time.
    """
    holds = [hold for hold in seen.holds if hold.counts(now)]
    if seen.expires_at is not None and seen.expires_at <= now:
        return _expired(seen.expires_at, holds)
    match seen.status:
        case WorkspaceStatus.RUNNING:
            verdict = _awake(seen, holds, patience, now)
        case WorkspaceStatus.PAUSED:
            verdict = _asleep(seen, holds, patience, now)
        case _:
            verdict = Verdict(step=Step.KEEP)
    if verdict.step is not Step.KEEP or seen.expires_at is None:
        return verdict
    return Verdict(step=Step.KEEP, because=verdict.because, again=_first(verdict.again, seen.expires_at))


def _expired(expires_at: datetime, holds: Sequence[Hold]) -> Verdict:
    if holds:
        return Verdict(step=Step.KEEP, because=tuple(map(_held, holds)), again=max(hold.expires_at for hold in holds))
    return Verdict(step=Step.EXPIRE, because=(f"expired {expires_at:%Y-%m-%d %H:%M} UTC",))


def _awake(seen: Signals, holds: Sequence[Hold], patience: Patience, now: datetime) -> Verdict:
    reasons = [*_commands(seen.commands), *map(_held, holds)]
    if patience.idle is None:
        return Verdict(step=Step.KEEP, because=(*reasons, "idle_timeout is off"))
    # A time of another clock counts as now, so that one that was set back puts nothing to sleep early or never.
    active = now if seen.last_active > now + FROM_THE_FUTURE else seen.last_active
    sleeps = active + patience.idle
    if sleeps > now:
        ago, left = _span(now - active), _span(sleeps - now)
        keys = _typed(seen.typed, patience.idle, now)
        because = (*reasons, *keys, f"used {ago} ago; sleeps in {left} unless used")
        return Verdict(step=Step.KEEP, because=because, again=sleeps)
    if reasons:
        # A hold's end is known. A command's is not, so it is looked at again before long.
        known = max((hold.expires_at for hold in holds), default=None)
        again = now + patience.idle if len(reasons) > len(holds) or known is None else known
        return Verdict(step=Step.KEEP, because=tuple(reasons), again=again)
    step = Step.PAUSE if seen.can_pause else Step.STOP
    return Verdict(step=step, because=(f"nothing happened in it for {_span(now - active)}",))


def _asleep(seen: Signals, holds: Sequence[Hold], patience: Patience, now: datetime) -> Verdict:
    if seen.asleep_since is None:
        return Verdict(step=Step.KEEP)
    if seen.pressed and not holds:
        return Verdict(step=Step.STOP, because=("memory is short",))
    if patience.stop is None:
        return Verdict(step=Step.KEEP)
    since = now if seen.asleep_since > now + FROM_THE_FUTURE else seen.asleep_since
    ends = max([since + patience.stop, *(hold.expires_at for hold in holds)])
    if ends > now:
        return Verdict(step=Step.KEEP, again=ends)
    return Verdict(step=Step.STOP, because=(f"asleep for {_span(now - since)}",))


def _commands(running: Sequence[RunningCommand] | None) -> list[str]:
    if running is None:
        return ["its backend cannot say what runs in it"]
    work = [command.program for command in running if command.keeps_awake and not command.interactive]
    if not work:
        return []
    more = f" and {len(work) - _NAMED} more" if len(work) > _NAMED else ""
    return [f"running: {', '.join(work[:_NAMED])}{more}"]


def _typed(typed: Sequence[tuple[str, datetime]], idle: timedelta, now: datetime) -> list[str]:
    recent = [(name, now - moment) for name, moment in typed if now - moment < idle]
    return [f"typed into terminal {name} {_span(ago)} ago" for name, ago in recent[:_NAMED]]


def _held(hold: Hold) -> str:
    reason = f" ({hold.reason})" if hold.reason else ""
    return f"held by {hold.name!r} until {hold.expires_at:%Y-%m-%d %H:%M} UTC{reason}"


def _first(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)


def _span(span: timedelta) -> str:
    """Return a span as people say it: in seconds below a minute, in minutes above."""
    unit = 1 if span < timedelta(minutes=1) else 60
    return format_duration(timedelta(seconds=max(0, round(span.total_seconds() / unit) * unit)))
