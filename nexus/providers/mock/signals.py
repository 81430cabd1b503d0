"""What a simulated process does when it gets signals."""

from __future__ import annotations

import signal
from collections import deque
from typing import Final

import anyio.lowlevel

from nexus.providers.mock.pipes import Bell

_UNTRAPPABLE: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})


class Signals:
    """What a process does when it gets signals; the kernel's defaults until told otherwise."""

    def __init__(self, ignored: frozenset[int], bell: Bell) -> None:
        self.ignored: set[int] = set(ignored)
        self.trapped: set[int] = set()
        self._pending: deque[int] = deque()
        self._bell = bell

    def ignore(self, number: int) -> None:
        """Do nothing at this signal. Children inherit it."""
        if number not in _UNTRAPPABLE:
            self.trapped.discard(number)
            self.ignored.add(number)

    def trap(self, number: int) -> None:
        """Hand this signal to :meth:`receive` instead of dying of it."""
        if number not in _UNTRAPPABLE:
            self.ignored.discard(number)
            self.trapped.add(number)

    def default(self, number: int) -> None:
        """Do what the kernel does."""
        self.ignored.discard(number)
        self.trapped.discard(number)

    def put(self, number: int) -> None:
        """Store a trapped signal."""
        self._pending.append(number)
        self._bell.ring()

    @property
    def next(self) -> int | None:
        """The oldest trapped signal that waits; it stays."""
        return self._pending[0] if self._pending else None

    def take(self) -> int | None:
        """Return the oldest trapped signal that waits, or ``None``."""
        return self._pending.popleft() if self._pending else None

    async def receive(self) -> int:
        """Return the next trapped signal."""
        await anyio.lowlevel.checkpoint()
        while not self._pending:
            await self._bell.wait()
        return self._pending.popleft()


def signal_number(text: str) -> int | None:
    """Return the number of a signal written as ``15``, ``TERM`` or ``SIGTERM``, or ``None``."""
    if text.isdigit():
        return int(text)
    name = text.upper().removeprefix("SIG")
    return int(signal.Signals[f"SIG{name}"]) if f"SIG{name}" in signal.Signals.__members__ else None
