"""Standard input of a running command: a bounded buffer between its connection and its pipe or terminal."""

from __future__ import annotations

import os
import select
import termios
from collections.abc import Callable
from typing import Final

from nexus.providers.local.keeper.loop import Loop

ROOM: Final = 256 * 1024
_VEOF: Final = 4
"""Index of the end-of-file character among a terminal's special characters (``VEOF`` of ``termios(3)``)."""


class Stdin:
    """Feeds a command.

    Args:
        loop: Waits for the descriptor.
        descriptor: Where to write; owned from now on.
        terminal: Whether it is a terminal, whose end of file is a character and not a closed pipe.
        on_flow: Told whether more may be fed now.
        on_closed: Told once when the command no longer reads.
    """

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        *,
        terminal: bool,
        on_flow: Callable[[bool], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._terminal = terminal
        self._on_flow = on_flow
        self._on_closed = on_closed
        self._buffer = bytearray()
        self._flowing = True
        self._ending = False
        self._at_line_start = True
        self._open = True
        self._watch()

    def feed(self, data: bytes) -> None:
        """Hand over bytes. After the end, or when the command does not read any more: nothing."""
        if self._open and not self._ending and data:
            self._buffer += data
            self._at_line_start = data.endswith(b"\n")
            self._flush()

    def end(self) -> None:
        """Send end of file after everything that was fed."""
        if self._open and not self._ending:
            if self._terminal:
                # Within a line the first end-of-file character only hands over the line so far.
                self.feed(self._end_of_file() * (1 if self._at_line_start else 2))
            self._ending = True
            self._flush()

    def close(self) -> None:
        """Close at once."""
        if self._open:
            self._open = False
            self._buffer.clear()
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)

    def _end_of_file(self) -> bytes:
        try:
            character: bytes | int = termios.tcgetattr(self._descriptor)[6][_VEOF]
        except termios.error:
            return b"\x04"
        return character if isinstance(character, bytes) else bytes([character])

    def _ready(self, mask: int) -> None:
        if mask & (select.EPOLLERR | select.EPOLLHUP):
            self._gone()
        else:
            self._flush()

    def _flush(self) -> None:
        try:
            while self._buffer:
                del self._buffer[: os.write(self._descriptor, self._buffer)]
        except BlockingIOError:
            pass
        except OSError:
            self._gone()
            return
        if self._ending and not self._buffer and not self._terminal:
            self.close()
            return
        self._watch()
        flowing = len(self._buffer) < ROOM
        if flowing is not self._flowing:
            self._flowing = flowing
            self._on_flow(flowing)

    def _watch(self) -> None:
        if self._buffer:
            self._loop.watch(self._descriptor, select.EPOLLOUT, self._ready)
        elif self._terminal:
            self._loop.forget(self._descriptor)  # one that nobody has open hangs up, and may be opened again
        else:
            # An empty mask still tells when the last reader has closed its end.
            self._loop.watch(self._descriptor, 0, self._ready)

    def _gone(self) -> None:
        if self._open:
            self.close()
            self._on_closed()
