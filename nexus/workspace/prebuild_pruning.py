"""Which prebuilt images go: those that nothing fits any more, after a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from nexus.abc import SupportsPrebuilds
from nexus.errors import NexusError
from nexus.models.prebuilds import Prebuild
from nexus.models.rescues import PruneAction
from nexus.models.units import format_duration
from nexus.workspace.context import Context
from nexus.workspace.prebuild_result import labels
from nexus.workspace.prebuilding import current_key


class Verdict(NamedTuple):
    """What is to become of one."""

    prebuild: Prebuild
    remove: bool
    reason: str


def decide(prebuilds: tuple[Prebuild, ...], *, fits: str | None, now: datetime, keep_for: timedelta) -> list[Verdict]:
    """Say which go. Pure.

    Args:
        prebuilds: Those there are.
        fits: The key that fits what is checked out.
        now: The time.
        keep_for: The age from which one goes that does not fit.
    """
    verdicts: list[Verdict] = []
    for one in prebuilds:
        told = f"{format_duration(timedelta(seconds=int(max((now - one.made_at).total_seconds(), 0))))} old"
        if one.key == fits:
            verdicts.append(Verdict(one, False, f"{told}, and fits what is checked out"))
        elif now - one.made_at < keep_for:
            verdicts.append(Verdict(one, False, f"{told}, younger than {format_duration(keep_for)}"))
        else:
            verdicts.append(Verdict(one, True, f"{told}, and does not fit what is checked out"))
    return verdicts


async def prune(context: Context, *, dry_run: bool, now: datetime) -> tuple[PruneAction, ...]:
    """Remove prebuilt images of this repository that may go. A backend that cannot be asked now is asked another time."""
    actions: list[PruneAction] = []
    for backend in context.backends.names():
        try:
            provider = await context.backends.provider(backend)
            there = await provider.prebuilds(labels(context)) if isinstance(provider, SupportsPrebuilds) else ()
            if not (there and isinstance(provider, SupportsPrebuilds)):
                continue
            fits = await current_key(context, provider) if backend == context.settings.backend else None
            verdicts = decide(there, fits=fits, now=now, keep_for=context.settings.prebuild.keep_for)
            actions += [await _carry_out(provider, verdict, dry_run=dry_run) for verdict in verdicts]
        except NexusError:
            continue
    return tuple(actions)


async def _carry_out(provider: SupportsPrebuilds, verdict: Verdict, *, dry_run: bool) -> PruneAction:
    one = verdict.prebuild
    action = PruneAction(
        kind="prebuild", name=one.key, action="kept", reason=verdict.reason, time=one.made_at, size=one.size
    )
    if not verdict.remove:
        return action
    if dry_run:
        return action.model_copy(update={"action": "would-remove"})
    if await provider.remove_prebuild(one.key):
        return action.model_copy(update={"action": "removed"})
    return action.model_copy(update={"reason": f"{verdict.reason}, but a workspace began from it"})
