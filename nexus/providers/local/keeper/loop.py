"""One thread that waits for descriptors and moments."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

Handler: TypeAlias = Callable[[int], None]
"""Told what happened to its descriptor: ``select.EPOLL*`` bits."""


class Timer:
    """Something to do later, unless it is cancelled."""

    def __init__(self, when: float, action: Callable[[], None]) -> None:
        self.when = when
        self._action: Callable[[], None] | None = action

    @property
    def live(self) -> bool:
        """Whether it is still to come."""
        return self._action is not None

    @property
    def remaining(self) -> float:
        """Seconds until its moment; negative when that is past."""
        return self.when - time.monotonic()

    def cancel(self) -> None:
        """Do nothing at that moment. Cancelling twice, or afterwards, is fine."""
        self._action = None

    def fire(self) -> None:
        """Do it, once."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Loop:
    """Runs handlers until :meth:`leave`.

    A handler that raises does not end the loop: one broken connection must not take a workspace's processes down with it.

    Args:
        on_error: Told of an exception that a handler let through.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._poll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._masks: dict[int, int] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = itertools.count()
        self._running = True

    def watch(self, descriptor: int, mask: int, handler: Handler) -> None:
        """Call ``handler`` when one of ``mask`` happens; a hang-up and an error are always told. Calling again changes the mask."""
        if descriptor not in self._handlers:
            self._poll.register(descriptor, mask)
            self._handlers[descriptor] = handler
        elif self._masks[descriptor] != mask:
            self._poll.modify(descriptor, mask)
        self._masks[descriptor] = mask

    def forget(self, descriptor: int) -> None:
        """Stop watching. Not watched: nothing."""
        if self._handlers.pop(descriptor, None) is not None:
            del self._masks[descriptor]
            self._poll.unregister(descriptor)

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do something in ``seconds``."""
        timer = Timer(time.monotonic() + seconds, action)
        heapq.heappush(self._timers, (timer.when, next(self._serial), timer))
        return timer

    def leave(self) -> None:
        """Make :meth:`run` return after this round."""
        self._running = False

    def run(self) -> None:
        """Wait and call, until :meth:`leave`."""
        while self._running:
            events = self._poll.poll(self._pause())
            # A handler may close a descriptor whose number the next one opens again: an event is only for who waited for it.
            batch = [(descriptor, self._handlers[descriptor], mask) for descriptor, mask in events]
            for descriptor, handler, mask in batch:
                if self._handlers.get(descriptor) is handler:
                    self._guard(partial(handler, mask))
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._guard(heapq.heappop(self._timers)[2].fire)

    def _pause(self) -> float | None:
        while self._timers and not self._timers[0][2].live:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the contract above
            self._on_error(error)
