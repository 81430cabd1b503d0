"""Sends what one connection has to say: answers first, then one piece of each stream in turn.

What can be sent without waiting is sent by whoever says it; the task that sends has only what had to wait.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import anyio

from nexus.abc.transport import PromptTransport, Transport
from nexus.daemon.outlets import Outlet
from nexus.errors import SlowConsumer

_CALM: Final = 1024 * 1024
"""Characters that may wait before no more requests are read."""


class Writer:
    """Sends; the one task that waits for the other end.

    Args:
        transport: Where to.
        pending: Characters and bytes that may wait.
        patience: Seconds that one message may take to be handed over.
    """

    def __init__(self, transport: Transport, pending: int, patience: float) -> None:
        self._transport = transport
        self._prompt = transport if isinstance(transport, PromptTransport) else None
        self._most = pending
        self._patience = patience
        self._first: deque[str | bytes] = deque()
        self._waiting = 0
        self._turns: deque[Outlet] = deque()
        self._queued: set[int] = set()
        self._busy = False
        self._begun = 0.0
        self._something = anyio.Event()
        self._calm = anyio.Event()

    @property
    def calm_now(self) -> bool:
        """Whether little waits."""
        return self._waiting <= _CALM

    def say(self, messages: list[str | bytes]) -> None:
        """Send these before any stream.

        Raises:
            SlowConsumer: When too much waits already.
        """
        if not messages or self._sent_now(messages):
            return
        self._first.extend(messages)
        self._waiting += sum(map(len, messages))
        self._something.set()
        if self._waiting > self._most:
            raise SlowConsumer(f"{self._waiting} bytes wait for a client that does not read")

    def _sent_now(self, messages: list[str | bytes]) -> bool:
        return not self._busy and not self._first and self._prompt is not None and self._prompt.send_now(messages)

    def ready(self, outlet: Outlet) -> None:
        """Ask this outlet when its turn comes."""
        if id(outlet) not in self._queued and not outlet.done:
            self._queued.add(id(outlet))
            self._turns.append(outlet)
            self._something.set()

    async def calm(self) -> None:
        """Return when little waits: whoever asks faster than they read is read more slowly."""
        while self._waiting > _CALM:
            self._calm = anyio.Event()
            await self._calm.wait()

    async def run(self) -> None:
        """Send until it is cancelled.

        Raises:
            ConnectionLost: When the connection has ended.
        """
        while True:
            message = self._next()
            if message is None:
                self._something = anyio.Event()
                await self._something.wait()
                continue
            await self._send(message)

    async def _send(self, message: str | bytes) -> None:
        self._busy, self._begun = True, anyio.current_time()
        try:
            await self._transport.send(message)
        finally:
            self._busy = False

    async def watch(self) -> None:
        """Look now and then whether a message is still being handed over; runs until it is cancelled.

        Raises:
            SlowConsumer: When the other end takes nothing for too long.
        """
        while True:
            await anyio.sleep(self._patience / 4)
            if self._busy and anyio.current_time() - self._begun > self._patience:
                raise SlowConsumer(f"a client took nothing for {self._patience:g} s")

    def _next(self) -> str | bytes | None:
        if self._first:
            message = self._first.popleft()
            self._waiting -= len(message)
            if self._waiting <= _CALM:
                self._calm.set()
            return message
        while self._turns:
            outlet = self._turns.popleft()
            self._queued.discard(id(outlet))
            found = outlet.next()
            if found is not None:
                self.ready(outlet)
                return found
        return None
