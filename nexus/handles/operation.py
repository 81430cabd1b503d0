"""What ``create`` and ``spawn`` return: await it to keep the outcome, enter it to own the outcome."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Generator
from enum import StrEnum
from types import TracebackType
from typing import Generic, TypeVar

import anyio

from nexus.errors import InvalidArgument
from nexus.handles.cleanup import clean_up

T = TypeVar("T")


class OwnedExit(StrEnum):
    """How an owning block was left."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Operation(Generic[T]):
    """Work that starts when it is awaited or entered; for one use.

    ``x = await op`` starts it, and what it made stays. ``async with op as x`` starts it, and leaving the block closes what it
    made, also when the block failed or was cancelled. One that is dropped unused gives a ``RuntimeWarning``, as a forgotten
    coroutine does.

    Args:
        start: Does the work. When it fails or is cancelled it leaves nothing behind.
        close: Ends what ``start`` made; told how the block was left. It runs shielded from cancellation.
        what: The work in words, for messages: ``create 'a'``.
        cleanup_timeout: Seconds that ``close`` may take.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[T]],
        close: Callable[[T, OwnedExit], Awaitable[None]],
        *,
        what: str,
        cleanup_timeout: float = 30.0,
    ) -> None:
        self._used = False
        self._start = start
        self._close = close
        self._what = what
        self._cleanup_timeout = cleanup_timeout
        self._owned: list[T] = []

    def __repr__(self) -> str:
        return f"<Operation {self._what}{' (used)' if self._used else ''}>"

    def __await__(self) -> Generator[object, None, T]:
        """Start the work and keep what it made.

        Raises:
            InvalidArgument: When the operation was used before.

        Cancellation: the work is undone.
        """
        return self._begin().__await__()

    async def __aenter__(self) -> T:
        """Start the work; the block owns what it made.

        Raises:
            InvalidArgument: When the operation was used before.

        Cancellation: the work is undone.
        """
        value = await self._begin()
        self._owned.append(value)
        return value

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what the block owned.

        Raises:
            CleanupError: When that failed or took too long, and the block itself had not failed. It never deletes unsaved work:
                what would be lost is in ``details["lost"]``. When the block had failed its own error goes on, with a note.

        Cancellation: the cleanup is done all the same.
        """
        value = self._owned.pop()
        left = _how(error)
        await clean_up(lambda: self._close(value, left), what=self._what, timeout=self._cleanup_timeout, body=error)

    def __del__(self) -> None:
        if not getattr(self, "_used", True):
            warnings.warn(f"operation {self._what} was never awaited", RuntimeWarning, stacklevel=2, source=self)

    async def _begin(self) -> T:
        if self._used:
            raise InvalidArgument(
                f"operation {self._what} has been used: it can be awaited or entered once",
                hint="call the method again for another one",
            )
        self._used = True
        return await self._start()


def _how(error: BaseException | None) -> OwnedExit:
    if error is None:
        return OwnedExit.DONE
    return OwnedExit.CANCELLED if isinstance(error, anyio.get_cancelled_exc_class()) else OwnedExit.FAILED
