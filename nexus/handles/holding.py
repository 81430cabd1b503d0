"""What ``ws.hold(…)`` gives: a hold that is renewed for as long as a block lasts."""

from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import timedelta
from types import TracebackType
from typing import Final

import anyio
from anyio.abc import TaskGroup

from nexus import models
from nexus.abc.service import WorkspaceService
from nexus.errors import NexusError, NotFound
from nexus.handles.cleanup import clean_up
from nexus.models.units import parse_duration

_log = logging.getLogger(__name__)

HEARTBEAT_TTL: Final = 120.0
"""Seconds that a hold of a block outlives its program, when that is killed."""
_BEATS: Final = 3
"""How often a hold is renewed within its time."""
_RELEASE_LIMIT: Final = 30.0


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

    def __await__(self) -> Generator[object, None, models.activity.Hold]:
        """Take the hold; it ends by itself.

        Raises:
            InvalidArgument: When the name or the time cannot be used.

        Cancellation: it is taken or it is not; it ends by itself in any case.
        """
        return self._take().__await__()

    async def __aenter__(self) -> models.activity.Hold:
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

    async def _take(self) -> models.activity.Hold:
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
