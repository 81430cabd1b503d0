"""What happened lately, numbered, so that whoever was away can ask for what they missed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

from nexus.abc.service import WorkspaceService
from nexus.errors import NexusError
from nexus.models.events import WorkspaceEvent
from nexus.wire.messages import Notification, serialise
from nexus.wire.methods.events import EVENT, NumberedEvent

KEPT: Final = 4096
_AGAIN_SECONDS: Final = 1.0
_log: Final = logging.getLogger("nexus.daemon")


class EventLog:
    """Keeps the last events of a service, and tells those who listen."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, WorkspaceEvent]] = deque(maxlen=KEPT)
        self.newest = 0
        self.outlets: set[EventOutlet] = set()
        self.listening = anyio.Event()
        """Set once nothing is missed any more."""
        self.watchers: list[Callable[[WorkspaceEvent], None]] = []

    @property
    def oldest(self) -> int:
        """The number of the first event that is kept; one more than the last when none is."""
        return self._kept[0][0] if self._kept else self.newest + 1

    async def run(self, service: WorkspaceService) -> None:
        """Take events until it is cancelled. A subscription that is cut off is begun again, and leaves a gap that is seen."""
        while True:
            try:
                async with service.events() as events:
                    self.listening.set()
                    async for event in events:
                        self.add(event)
            except NexusError as error:
                _log.warning("events cannot be had: %s", error.message)
            self._break()
            await anyio.sleep(_AGAIN_SECONDS)

    def add(self, event: WorkspaceEvent) -> None:
        """Take the next event."""
        self.newest += 1
        self._kept.append((self.newest, event))
        for watcher in self.watchers:
            watcher(event)
        for outlet in tuple(self.outlets):
            outlet.wake()

    def after(self, seq: int) -> tuple[int, WorkspaceEvent] | None:
        """Return the first event that is kept after this number."""
        if seq >= self.newest or not self._kept:
            return None
        return self._kept[max(0, seq + 1 - self._kept[0][0])]

    def _break(self) -> None:
        """Let a number go unused, and forget what was before: nobody is to believe that nothing is missing."""
        self._kept.clear()
        self.newest += 1


class EventOutlet:
    """Sends events on one connection, as fast as it takes them.

    Args:
        log: Where they are.
        since: The number of the last one that is known.
        wanted: Whether an event may be told.
        ready: Called when there may be something to send.
    """

    def __init__(
        self,
        log: EventLog,
        since: int,
        wanted: Callable[[WorkspaceEvent], bool],
        ready: Callable[[], None],
    ) -> None:
        self.done = False
        self._log = log
        self._seq = since
        self._wanted = wanted
        self._ready = ready
        log.outlets.add(self)

    def wake(self) -> None:
        """There may be something new."""
        self._ready()

    def close(self) -> None:
        """Send nothing more."""
        self.done = True
        self._log.outlets.discard(self)

    def next(self) -> str | None:
        """Return the next event as a message."""
        lost = False
        while not self.done and (found := self._log.after(self._seq)) is not None:
            seq, event = found
            lost = lost or seq > self._seq + 1
            self._seq = seq
            if self._wanted(event):
                return serialise(Notification(EVENT.name, _told(seq, event, lost=lost)))
        return None


def _told(seq: int, event: WorkspaceEvent, *, lost: bool) -> dict[str, object]:
    return dict(NumberedEvent(seq=seq, event=event, lost=lost).model_dump(mode="json", by_alias=True))
