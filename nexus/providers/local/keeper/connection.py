"""The keeper's end of one connection: frames in, frames out, and no more in memory than a bound."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Final

from nexus.providers.local.keeper.frames import CHUNK, FrameBuffer, FrameError, pack
from nexus.providers.local.keeper.loop import Loop

ROOM: Final = 256 * 1024
"""Bytes waiting to be sent above which nothing more is read from a command."""


class Connection:
    """One accepted socket.

    ``on_frame`` gets every frame, ``on_gone`` is told once when the other side has left, ``on_room`` whenever what was waiting
    has shrunk enough to go on.
    """

    def __init__(self, loop: Loop, sock: socket.socket, on_frame: Callable[[Connection, int, bytes], None]) -> None:
        self._loop = loop
        self._socket = sock
        self._descriptor = sock.fileno()
        self._on_frame = on_frame
        self.on_gone: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self._incoming = FrameBuffer()
        self._outgoing = bytearray()
        self._reading = True
        self._deaf = False
        self._finishing = False
        self.closed = False
        sock.setblocking(False)
        self._watch()

    @property
    def room(self) -> bool:
        """Whether more may be sent without going over the bound."""
        return len(self._outgoing) < ROOM

    @property
    def idle(self) -> bool:
        """Whether everything was sent."""
        return self.closed or not self._outgoing

    def set_receiver(self, on_frame: Callable[[Connection, int, bytes], None]) -> None:
        """Give frames to somebody else from now on."""
        self._on_frame = on_frame

    def send(self, kind: int, payload: bytes = b"") -> None:
        """Send a frame, now or as soon as the other side takes it. Gone already: nothing."""
        if not self.closed:
            self._outgoing += pack(kind, payload)
            self._flush()

    def finish(self) -> None:
        """Close as soon as everything was sent."""
        self._finishing = True
        if not self.closed and not self._outgoing:
            self.close()

    def listen(self, *, on: bool) -> None:
        """Read from the other side, or leave its bytes where they are."""
        if not self.closed and not self._deaf:
            self._reading = on
            if on:
                self._cut()
            self._watch()

    def turn_deaf(self) -> None:
        """Take no input any more: the other side's next write fails, also one that waits already."""
        if self.closed or self._deaf:
            return
        self._deaf = True
        self._reading = False
        try:
            self._socket.shutdown(socket.SHUT_RD)
            while self._socket.recv(CHUNK):  # what was under way; a full queue would keep its writer waiting
                pass
        except OSError:
            pass  # gone: the hang-up is told by the loop
        self._watch()

    def close(self) -> None:
        """Close now."""
        if not self.closed:
            self.closed = True
            self._outgoing.clear()
            self._loop.forget(self._descriptor)
            self._socket.close()

    def _watch(self) -> None:
        if not self.closed:
            mask = (select.EPOLLIN if self._reading else 0) | (select.EPOLLOUT if self._outgoing else 0)
            self._loop.watch(self._descriptor, mask, self._ready)

    def _ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush()
        if not self.closed and self._reading and mask & (select.EPOLLIN | select.EPOLLHUP):
            self._receive()
        elif not self.closed and mask & (select.EPOLLHUP | select.EPOLLERR):
            self._lost()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._incoming.feed(data)
        self._cut()

    def _cut(self) -> None:
        try:
            while self._reading and not self.closed and (frame := self._incoming.pop()) is not None:
                self._on_frame(self, frame.kind, frame.payload)
        except FrameError:
            self._lost()

    def _flush(self) -> None:
        full = not self.room
        try:
            while self._outgoing:
                del self._outgoing[: self._socket.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._lost()
            return
        if self._finishing and not self._outgoing:
            self.close()
            return
        self._watch()
        if full and self.room and self.on_room is not None:
            self.on_room()

    def _lost(self) -> None:
        self.close()
        if self.on_gone is not None:
            self.on_gone()
