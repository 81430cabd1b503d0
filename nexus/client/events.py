"""What happens to workspaces behind a daemon."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio

from nexus import models
from nexus.client.line import Line
from nexus.client.link import Link
from nexus.errors import NexusError
from nexus.wire import methods
from nexus.wire.methods.session import EVENT_NAME, SUBSCRIBE, UNSUBSCRIBE, Subscribe, Subscribed
from nexus.wire.methods.table import Nothing
from nexus.wire.reading import read_result

_BUFFER: Final = 1024


class Events:
    """Everybody of one client who wants events; the daemon sends each of them once."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._subscribers: set[_Subscriber] = set()
        self._seq = 0
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def subscribe(self) -> AsyncGenerator[AsyncIterator[models.events.WorkspaceEvent], None]:
        """Give an iterator over what happens from now on. It ends when events were lost, so that whoever reads it knows."""
        subscriber = _Subscriber()
        async with self._turn:
            if not self._subscribers:
                self._line.listen(EVENT_NAME, "", self._told)
                self._line.follow(self)
                await self._line.call(SUBSCRIBE, Subscribe(), on_result=self._subscribed, again=True)
            self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            if not self._subscribers:
                self._line.unlisten(EVENT_NAME, "")
                self._line.unfollow(self)
                if self._line.current is not None:
                    self._line.current.post(UNSUBSCRIBE, Nothing())

    def _subscribed(self, found: Subscribed) -> None:
        self._seq = found.newest

    def _told(self, params: Mapping[str, object]) -> None:
        numbered = read_result(methods.events.NumberedEvent, params)
        if numbered.seq <= self._seq:
            return
        self._seq = numbered.seq
        for subscriber in tuple(self._subscribers):
            if numbered.lost:
                subscriber.cut()
            subscriber.put(numbered.event)

    async def resume(self, link: Link, *, same_session: bool) -> None:
        """Go on after the last event that came."""
        if not same_session:  # another daemon counts from its own beginning
            self._cut()
            self._seq = 0
            await link.call(SUBSCRIBE, Subscribe(), on_result=self._subscribed)
            return
        found = await link.call(SUBSCRIBE, Subscribe(since=self._seq))
        if found.lost:
            self._cut()

    def give_up(self, error: NexusError) -> None:  # noqa: ARG002 - whoever calls something learns why
        """Nothing more comes."""
        self._cut()

    def _cut(self) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.cut()


class _Subscriber:
    """One reader."""

    def __init__(self) -> None:
        self._events: deque[models.events.WorkspaceEvent] = deque()
        self._over = False
        self._something = anyio.Event()

    def put(self, event: models.events.WorkspaceEvent) -> None:
        if self._over:
            return
        if len(self._events) >= _BUFFER:
            self.cut()
            return
        self._events.append(event)
        self._something.set()

    def cut(self) -> None:
        self._over = True
        self._something.set()

    def __aiter__(self) -> AsyncIterator[models.events.WorkspaceEvent]:
        return self

    async def __anext__(self) -> models.events.WorkspaceEvent:
        while not self._events:
            if self._over:
                raise StopAsyncIteration
            self._something = anyio.Event()
            await self._something.wait()
        return self._events.popleft()
