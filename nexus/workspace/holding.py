"""Holds: named reasons to keep a workspace awake, which end by themselves unless they are renewed."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from nexus.errors import InvalidArgument, NotFound
from nexus.models.activity import Hold
from nexus.models.units import seconds
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.quota import user_name

_NAME_HINT: Final = "lower-case letters, digits and '._-', for example 'build'"


async def take(context: Context, record: WorkspaceRecord, name: str, *, ttl: timedelta, reason: str) -> Hold:
    """Take a hold, or renew the one of this name. It never lasts longer than the node's ``limits.max_hold``.

    Raises:
        InvalidArgument: When the name or the reason cannot be used, or the time is zero.
        StateError: When it cannot be written.
    """
    most = context.settings.limits.max_hold
    now = context.clock.now()
    seconds(ttl, name="ttl")
    former = next((hold for hold in await active(context, record) if hold.name == name), None)
    try:
        hold = Hold(
            workspace=record.id,
            name=name,
            reason=reason or (former.reason if former is not None else ""),
            holder=_holder(),
            ttl=ttl if most is None else min(ttl, most),
            taken_at=now if former is None else former.taken_at,
            renewed_at=now,
        )
    except ValidationError as error:
        raise InvalidArgument(
            f"the hold {name[:64]!r} cannot be taken: {error.errors()[0]['msg']}", hint=_NAME_HINT
        ) from error
    await context.holds.save(hold)
    return hold


async def active(context: Context, record: WorkspaceRecord) -> tuple[Hold, ...]:
    """Return the holds that count now. Those that have ended are removed from the disk.

    Raises:
        StateError: When they cannot be read.
    """
    now = context.clock.now()
    counting: list[Hold] = []
    for hold in await context.holds.load(record.id):
        if hold.counts(now):
            counting.append(hold)
        else:
            await context.holds.delete(record.id, hold.name)
    return tuple(counting)


async def release(context: Context, record: WorkspaceRecord, name: str) -> None:
    """End a hold now.

    Raises:
        NotFound: When there is none of this name.
        StateError: When it cannot be removed.
    """
    known = await active(context, record)
    if name not in {hold.name for hold in known}:
        names = ", ".join(hold.name for hold in known) or "none"
        raise NotFound(
            f"workspace {record.name!r} has no hold {name!r}", hint=f"there are: {names}", details={"name": name}
        )
    await context.holds.delete(record.id, name)


def _holder() -> str:
    return f"{user_name()}@{socket.gethostname()}, process {os.getpid()}"
