"""Events to whoever listens: publishing never waits, never raises, and costs nothing when nobody listens."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from nexus.models.events import WorkspaceEvent

_log = logging.getLogger(__name__)

Observer = Callable[[WorkspaceEvent], None]


class EventBus:
    """Hands every event to every observer and subscriber.

    An observer that raises is logged and dropped. A subscriber that falls ``buffer`` events behind is cut off: its stream ends,
    so that it knows, instead of missing events without a word.
    """

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        self._subscribers: list[MemoryObjectSendStream[WorkspaceEvent]] = []

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call ``observer`` with every event from now on; the returned function ends that."""
        self._observers.append(observer)

        def forget() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return forget

    @asynccontextmanager
    async def subscribe(self, *, buffer: int = 1024) -> AsyncGenerator[AsyncIterator[WorkspaceEvent], None]:
        """Give an iterator over all events from now on.

        Args:
            buffer: How many events may wait to be taken.
        """
        send, receive = anyio.create_memory_object_stream[WorkspaceEvent](buffer)
        self._subscribers.append(send)
        try:
            with receive:
                yield receive
        finally:
            send.close()
            if send in self._subscribers:
                self._subscribers.remove(send)

    def publish(self, event: WorkspaceEvent) -> None:
        """Tell everybody."""
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - a stranger's code must not break ours
                _log.exception("an event observer failed and is no longer called")
                self._observers.remove(observer)
        for subscriber in tuple(self._subscribers):
            try:
                subscriber.send_nowait(event)
            except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
                _log.warning("an event subscriber fell behind and was cut off")
                self._subscribers.remove(subscriber)
                subscriber.close()
