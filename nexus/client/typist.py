"""What is typed into a terminal behind a daemon: every byte once, whatever becomes of connections meanwhile."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import anyio

from nexus.client.line import Line
from nexus.client.link import Link
from nexus.errors import ConnectionLost
from nexus.wire.methods import terminals as methods
from nexus.wire.methods.session import can
from nexus.wire.methods.table import WorkspaceRef

Place: TypeAlias = tuple[Link, str]
"""A connection, and what the daemon calls the look on it."""

_PIECE: Final = 128 * 1024


class Typist:
    """Types, one piece after the other. What a lost connection leaves unanswered is sent again over the next, with its offset.

    Args:
        line: The connections.
        workspace: Where the terminal is.
        place: Returns where to type when there is a place; raises when there will be none.
    """

    def __init__(self, line: Line, workspace: WorkspaceRef, place: Callable[[], Awaitable[Place]]) -> None:
        self._line = line
        self._workspace = workspace
        self._place = place
        self._turn = anyio.Lock(fast_acquire=True)
        self._session = ""
        """The session of the daemon that knows this typist."""
        self._id = ""
        self._offset = 0

    async def write(self, data: bytes) -> None:
        """Type; returns when the bytes are handed over.

        Raises:
            ConnectionLost: When it cannot be known whether they were: another daemon answers now, or it knows no offsets.
            NexusError: As the daemon raised it.

        Cancellation: a part of them may have been handed over.
        """
        async with self._turn:
            try:
                for at in range(0, len(data), _PIECE) or (0,):
                    await self._write(data[at : at + _PIECE])
            except BaseException:
                self._session = ""  # how far it came is not clear, so that the next piece begins anew
                raise

    async def _write(self, data: bytes) -> None:
        unanswered = ""
        while True:
            link, look = await self._place()
            if unanswered and link.hello.session_id != unanswered:
                raise ConnectionLost(
                    "the daemon was replaced before it was clear whether keys were handed over",
                    hint="look at the screen, as a person would",
                )
            if not can(link.hello, "terminal", "inputOffsets"):
                await self._line.ask(link, methods.INPUT, self._input(look, data))
                return
            try:
                await self._line.ask(link, methods.INPUT, self._numbered(link, look, data))
            except ConnectionLost:
                if not link.lost.is_set():
                    raise
                unanswered = link.hello.session_id
            else:
                self._offset += len(data)
                return

    def _numbered(self, link: Link, look: str, data: bytes) -> methods.Input:
        if self._session != link.hello.session_id:
            self._session, self._id, self._offset = link.hello.session_id, uuid.uuid4().hex, 0
        return self._input(look, data, typist=self._id, offset=self._offset)

    def _input(self, look: str, data: bytes, **numbered: str | int) -> methods.Input:
        text = base64.b64encode(data).decode()
        return methods.Input(workspace=self._workspace, session=look, data=text, **numbered)
