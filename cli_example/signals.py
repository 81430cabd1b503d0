"""Signals of this process: they cancel what runs, or go on to the command that runs inside."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskStatus

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED: Final = (*_ENDING, signal.SIGQUIT, signal.SIGWINCH)

Receiver: TypeAlias = Callable[[signal.Signals], Awaitable[None]]


class Signals:
    """Who gets the signals.

    Without a receiver the first one that asks to end cancels what runs, so that it is undone; the second one leaves at once, and
    what is half-made is left to the next command.
    """

    def __init__(self) -> None:
        self.ended_by: signal.Signals | None = None
        self._receiver: Receiver | None = None
        self._leaving: Callable[[], None] = lambda: None

    @contextmanager
    def going_to(self, receiver: Receiver) -> Generator[None, None, None]:
        """Let another one have them."""
        self._receiver = receiver
        try:
            yield
        finally:
            self._receiver = None

    @contextmanager
    def restoring(self, restore: Callable[[], None]) -> Generator[None, None, None]:
        """Call ``restore`` before leaving at once."""
        self._leaving = restore
        try:
            yield
        finally:
            self._leaving = lambda: None

    async def watch(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        """Receive signals until cancelled.

        Args:
            scope: Cancelled by the first signal that asks to end.
            task_status: Told when signals are received.
        """
        # What the one who started us chose to ignore (nohup, a background job) stays ignored.
        wanted = [number for number in _WATCHED if signal.getsignal(number) is not signal.SIG_IGN]
        with anyio.open_signal_receiver(*wanted) as received:
            task_status.started()
            async for number in received:
                if self._receiver is not None:
                    await self._receiver(number)
                elif number in _ENDING:
                    self._end(number, scope)
                elif number == signal.SIGQUIT:
                    self._leave(number)

    def _end(self, number: signal.Signals, scope: anyio.CancelScope) -> None:
        if self.ended_by is not None:
            self._leave(number)
        self.ended_by = number
        scope.cancel()

    def _leave(self, number: signal.Signals) -> None:
        self._leaving()
        os._exit(128 + number)
