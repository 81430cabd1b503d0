"""Who types into terminals, across the connections of their sessions: what came once is not typed again when it comes twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup

from nexus.errors import Conflict

Write: TypeAlias = Callable[[bytes], Awaitable[None]]

_MOST: Final = 256
"""Typists of one session that are remembered."""


class Typist:
    """Types what one client sends for one terminal, by the offsets at which it sends it.

    Args:
        group: Where it is typed: that ends with the daemon, not with a connection.
    """

    def __init__(self, group: TaskGroup) -> None:
        self.taken = 0
        """How far it was typed."""
        self._group = group
        self._turn = anyio.Lock(fast_acquire=True)
        self._piece: _Piece | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being typed."""
        return self._piece is None or self._piece.ended.is_set()

    async def type(self, offset: int, data: bytes, write: Write, unwanted: Callable[[], bool]) -> None:
        """Type what was not typed before, after everything that came before; returns when that was handed over.

        Args:
            offset: Where the bytes begin.
            data: The bytes.
            write: Hands them over.
            unwanted: Asked when this call is cancelled: whether nobody wants them any more, or only the connection is lost.

        Raises:
            Conflict: When bytes before ``offset`` have not come.
            Exception: What ``write`` raises; it is not clear then how much was handed over.

        Cancellation: bytes that are unwanted and not handed over yet never will be; otherwise those that are being handed over still are.
        """
        async with self._turn:
            await self._settle()
            if offset > self.taken:
                raise Conflict(
                    f"what was typed from {self.taken} to {offset} has not come",
                    hint="begin again as another typist",
                    details={"taken": self.taken, "offset": offset},
                )
            rest = data[self.taken - offset :]
            if not rest:
                return
            piece = self._piece = _Piece(rest, write)
            self._group.start_soon(self._hand_over, piece)
            try:
                await piece.ended.wait()
            except anyio.get_cancelled_exc_class():
                if unwanted():
                    piece.scope.cancel()
                raise
            if piece.error is not None:
                raise piece.error

    async def _settle(self) -> None:
        """Wait for what a lost connection has left being typed. How that ended is told to whoever sends it again."""
        if self._piece is not None:
            await self._piece.ended.wait()

    async def _hand_over(self, piece: _Piece) -> None:
        try:
            with piece.scope:
                await piece.write(piece.data)
                self.taken += len(piece.data)
        except Exception as error:  # noqa: BLE001 - whoever typed it is told
            piece.error = error
        finally:
            piece.ended.set()

    def close(self) -> None:
        """Type nothing more."""
        if self._piece is not None:
            self._piece.scope.cancel()


class _Piece:
    """Bytes that are being handed over."""

    def __init__(self, data: bytes, write: Write) -> None:
        self.data = data
        self.write = write
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.error: Exception | None = None


class Typists:
    """Everybody who types, by session.

    Args:
        group: Where it is typed.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._known: dict[str, dict[tuple[str, ...], Typist]] = {}

    def of(self, session: str, who: tuple[str, ...]) -> Typist:
        """Return who types.

        Args:
            session: The session of their client.
            who: Tells them from all others of the session.
        """
        known = self._known.setdefault(session, {})
        typist = known.pop(who, None) or Typist(self._group)
        known[who] = typist  # the last one in their order
        for old in [each for each, other in known.items() if other.idle][: max(0, len(known) - _MOST)]:
            del known[old]
        return typist

    def end_session(self, session: str) -> None:
        """Forget those of a session that is over."""
        for typist in self._known.pop(session, {}).values():
            typist.close()
