"""This side of a connection to a keeper. Every read and write can be cancelled without losing or tearing a frame."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Self

import anyio
from pydantic import JsonValue

from nexus.errors import ProviderUnavailable
from nexus.providers.local.keeper import frames
from nexus.providers.local.record import Run
from nexus.socket_address import address

_CREDENTIALS: Final = struct.Struct("3i")
_RETRY: Final = 0.002
_SIZE: Final = 256 * 1024
_OUTPUT: Final = frozenset({frames.STDOUT, frames.STDERR})


class KeeperAway(Exception):
    """Nobody, or somebody else, answers where the keeper should."""


class Channel:
    """One connection; made by :meth:`connect`, closed by :meth:`close`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._incoming = frames.FrameBuffer()
        self._next: frames.Frame | None = None
        self._unsent = bytearray()
        self._sending = anyio.Lock()
        self._waiting = 0
        self._closed = False

    @classmethod
    async def connect(cls, run: Run) -> Self:
        """Connect to a keeper and make sure that it is the one.

        Raises:
            KeeperAway: When nothing listens there, or another process than the keeper does.
            ProviderUnavailable: When the keeper is of another release of Nexus.
        """
        if run.protocol != frames.PROTOCOL:
            raise ProviderUnavailable(
                "the workspace was started by another release of Nexus, which this one cannot talk to",
                hint="stop the workspace and start it again",
            )
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            while not _connected(sock, run.socket):  # noqa: ASYNC110 - the kernel tells nobody when there is room
                await anyio.sleep(_RETRY)
            pid, user, _ = _CREDENTIALS.unpack(
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
        except OSError as exc:
            sock.close()
            raise KeeperAway(str(exc)) from exc
        except BaseException:
            sock.close()
            raise
        if (pid, user) != (run.pid, os.getuid()):
            sock.close()
            raise KeeperAway(f"process {pid} of user {user} answers")
        return cls(sock)

    async def send(self, kind: int, payload: bytes) -> None:
        """Send one frame.

        Raises:
            BrokenPipeError: When the keeper takes no more, or is gone.

        Cancellation: the frame was not sent, or what is missing of it is sent before the next one.
        """
        async with self._sending:
            await self._flush()
            self._unsent += frames.pack(kind, payload)
            whole = len(self._unsent)
            try:
                await self._flush()
            except BaseException:
                if len(self._unsent) == whole:
                    self._unsent.clear()
                raise

    async def receive(self) -> frames.Frame | None:
        """Return the next frame, ``None`` when the keeper has closed. Output that has come in many frames is joined to few.

        Cancellation: nothing is lost.
        """
        while (frame := self._pop()) is None:
            try:
                data = self._socket.recv(_SIZE)
            except BlockingIOError:
                await self._wait(anyio.wait_readable)
                continue
            except OSError:
                return None
            if not data:
                return None
            self._incoming.feed(data)
        return frame

    def _pop(self) -> frames.Frame | None:
        first, self._next = self._next or self._incoming.pop(), None
        if first is None or first.kind not in _OUTPUT:
            return first
        pieces, size = [first.payload], len(first.payload)
        while size < frames.CHUNK and (frame := self._incoming.pop()) is not None:
            if frame.kind != first.kind or size + len(frame.payload) > frames.CHUNK:
                self._next = frame
                break
            pieces.append(frame.payload)
            size += len(frame.payload)
        return frames.Frame(first.kind, b"".join(pieces))

    def close(self) -> None:
        """Close. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        if self._waiting:
            # Closed under a waiting task, the descriptor would keep it waiting for ever; this wakes it, and it closes.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()

    async def _wait(self, event: Callable[[socket.socket], Awaitable[None]]) -> None:
        self._waiting += 1
        try:
            await event(self._socket)
        finally:
            self._waiting -= 1
            if self._closed and not self._waiting:
                self._socket.close()

    async def _flush(self) -> None:
        while self._unsent:
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                await self._wait(anyio.wait_writable)
            except OSError as exc:
                raise BrokenPipeError(exc.errno, exc.strerror) from exc


async def call(run: Run, operation: str, **arguments: JsonValue) -> tuple[int, Mapping[str, JsonValue]]:
    """Ask a keeper for one thing; return the kind of its answer and what it says.

    Raises:
        KeeperAway: When it is not there, or leaves without an answer.
        ProviderUnavailable: When it is of another release.
    """
    return await ask(await Channel.connect(run), operation, **arguments)


async def ask(channel: Channel, operation: str, **arguments: JsonValue) -> tuple[int, Mapping[str, JsonValue]]:
    """Ask for one thing on a fresh connection, which is closed afterwards; return the kind of the answer and what it says.

    Raises:
        KeeperAway: When the keeper leaves without an answer.
    """
    try:
        await channel.send(frames.REQUEST, json.dumps({"op": operation, **arguments}).encode("ascii"))
        answer = await channel.receive()
    except BrokenPipeError as exc:
        raise KeeperAway("it closed the connection") from exc
    finally:
        channel.close()
    if answer is None:
        raise KeeperAway("it left without an answer")
    return answer.kind, json.loads(answer.payload)


def _connected(sock: socket.socket, path: str) -> bool:
    """Connect; false while too many others wait to be taken in."""
    with address(path) as name:
        try:
            sock.connect(name)
        except BlockingIOError:
            return False
    return True
