"""Changes of files behind a daemon."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Self

import anyio

from nexus.client.line import Line
from nexus.client.link import Link
from nexus.client.streams import error_in
from nexus.errors import NexusError
from nexus.models.files import FileEvent, WatchBatch, WatchMode
from nexus.wire.methods import files as methods
from nexus.wire.reading import read_result

_MOST: Final = 1024
"""Batches that wait to be taken; more are told as one overflow."""


class RemoteWatch:
    """Implements :class:`~nexus.abc.files.Watch`. After a lost connection it goes on with an overflow: look at everything again.

    Args:
        line: The connection.
        params: What is watched.
    """

    def __init__(self, line: Line, params: methods.Watch) -> None:
        self._line = line
        self._params = params
        self._id = ""
        self._mode = WatchMode.NATIVE
        self._notice: str | None = None
        self._batches: deque[WatchBatch] = deque()
        self._error: NexusError | None = None
        self._something = anyio.Event()

    @property
    def mode(self) -> WatchMode:
        """How changes are learned of."""
        return self._mode

    @property
    def notice(self) -> str | None:
        """Why it is not the way that was hoped for."""
        return self._notice

    async def begin(self) -> None:
        """Have the daemon watch."""
        await self._line.call(methods.WATCH, self._params, on_result=self._begun, again=True)
        self._line.follow(self)

    def _begun(self, found: methods.Watching) -> None:
        self._unlisten()
        self._id, self._mode, self._notice = found.watch, found.mode, found.notice
        self._line.listen(methods.DID_CHANGE.name, self._id, self._changed)
        self._line.listen(methods.WATCH_FAILED.name, self._id, self._failed)

    def close(self) -> None:
        """Watch no more."""
        self._line.unfollow(self)
        self._unlisten()
        if self._line.current is not None and self._id:
            params = methods.Unwatch(workspace=self._params.workspace, watch=self._id)
            self._line.current.post(methods.UNWATCH, params)

    def _unlisten(self) -> None:
        self._line.unlisten(methods.DID_CHANGE.name, self._id)
        self._line.unlisten(methods.WATCH_FAILED.name, self._id)

    async def receive(self) -> WatchBatch:
        """Wait for the next batch. A cancelled call loses none.

        Raises:
            NexusError: When the watch has ended, as the daemon says it.
        """
        while not self._batches:
            if self._error is not None:
                raise self._error
            self._something = anyio.Event()
            await self._something.wait()
        return self._batches.popleft()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self.receive()

    def _changed(self, params: Mapping[str, object]) -> None:
        told = read_result(methods.DidChange, params)
        events = tuple(FileEvent(kind=change.kind, path=change.path) for change in told.events)
        self._put(WatchBatch(events=events, overflow=told.overflow))

    def _put(self, batch: WatchBatch) -> None:
        if len(self._batches) >= _MOST:
            self._batches.clear()
            batch = WatchBatch(overflow=True)
        self._batches.append(batch)
        self._something.set()

    def _failed(self, params: Mapping[str, object]) -> None:
        self.give_up(error_in(params))

    async def resume(self, link: Link, *, same_session: bool) -> None:  # noqa: ARG002 - a watch ends with its connection
        """Watch again. What changed meanwhile nobody knows."""
        await link.call(methods.WATCH, self._params, on_result=self._begun)
        self._put(WatchBatch(overflow=True))

    def give_up(self, error: NexusError) -> None:
        """It is over."""
        self._error = error
        self._something.set()
