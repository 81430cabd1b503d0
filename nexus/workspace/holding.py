"""Holds: named reasons to keep a workspace awake, which end by themselves unless they are renewed."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator
from datetime import timedelta
from types import TracebackType
from typing import Final

import anyio
from anyio.abc import TaskGroup
from pydantic import ValidationError

from nexus.abc.service import WorkspaceService
from nexus.errors import InvalidArgument, NexusError, NotFound
from nexus.models.activity import Hold
from nexus.models.units import parse_duration, seconds
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.cleanup import clean_up
from nexus.workspace.context import Context
from nexus.workspace.quota import user_name

_log = logging.getLogger(__name__)

HEARTBEAT_TTL: Final = 120.0
"""Seconds that a hold of a block outlives its program, when that is killed."""
_BEATS: Final = 3
"""How often a hold is renewed within its time."""
_RELEASE_LIMIT: Final = 30.0
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


class Holding:
    """What ``ws.hold(…)`` returns. Await it to take the hold for its time; enter it to hold for as long as the block lasts.

    Inside a block the hold is renewed by itself. A program that is killed renews nothing, so the hold ends soon after it.

    Args:
        service: Where to take it.
        workspace: The workspace's id.
        name: The hold's name.
        ttl: Seconds, or a span; two minutes for a block when absent.
        reason: Why, for people.
    """

    def __init__(
        self, service: WorkspaceService, workspace: str, name: str, *, ttl: float | timedelta | None, reason: str
    ) -> None:
        self._service = service
        self._workspace = workspace
        self._name = name
        self._ttl = parse_duration(HEARTBEAT_TTL if ttl is None else ttl)
        self._reason = reason
        self._group: TaskGroup | None = None

    def __await__(self) -> Generator[object, None, Hold]:
        """Take the hold; it ends by itself.

        Raises:
            InvalidArgument: When the name or the time cannot be used.

        Cancellation: it is taken or it is not; it ends by itself in any case.
        """
        return self._take().__await__()

    async def __aenter__(self) -> Hold:
        """Take the hold and renew it until the block is left.

        Raises:
            InvalidArgument: When the name or the time cannot be used.
        """
        hold = await self._take()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._beat, hold.ttl.total_seconds() / _BEATS)
        return hold

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop renewing, and release.

        Raises:
            CleanupError: When it could not be released, and the block itself had not failed. It ends by itself all the same.

        Cancellation: it is released all the same.
        """
        group, self._group = self._group, None
        if group is not None:
            group.cancel_scope.cancel()
            # Not told of the block's own error, which would come out wrapped in a group.
            await group.__aexit__(None, None, None)
        await clean_up(self._release, what=f"hold {self._name}", timeout=_RELEASE_LIMIT, body=error)

    async def _take(self) -> Hold:
        return await self._service.hold(self._workspace, self._name, ttl=self._ttl, reason=self._reason)

    async def _release(self) -> None:
        try:
            await self._service.release(self._workspace, self._name)
        except NotFound:
            return  # it has ended, or went with the workspace

    async def _beat(self, interval: float) -> None:
        while True:
            await anyio.sleep(interval)
            try:
                await self._take()
            except NotFound:
                return
            except NexusError as error:
                _log.warning("hold %s could not be renewed and is tried again: %s", self._name, error)
