"""One command's two-way byte stream: an HTTP request that the engine turns into a bare connection.

The driver's own stream cannot end standard input while output goes on, so the upgrade is done here, on a connection that
belongs to one command alone. What comes back is raw on a terminal and framed otherwise: a header of eight bytes (stream number,
three zeros, big-endian length) before each piece.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from nexus.models.execution import Stream
from nexus.providers.docker.client import Address
from nexus.providers.docker.failures import EngineRefused, silent, unreachable

_BUFFER: Final = 128 * 1024
"""Bytes that the reader holds before it stops the engine: twice this, at most."""
_HEAD_LIMIT: Final = 64 * 1024
_HEADER: Final = struct.Struct(">BxxxL")


@dataclass(frozen=True, slots=True)
class Hijacked:
    """The two ends of the connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        """Close the connection at once; the command is not told."""
        self.writer.close()


async def hijack(
    address: Address, path: str, body: Mapping[str, JsonValue], *, doing: str, deadline: float
) -> Hijacked:
    """Post ``body`` to ``path`` and take over the connection.

    Cancellation closes the connection.

    Raises:
        ProviderUnavailable, ProviderForbidden: When the engine cannot be reached or does not answer in time.
        EngineRefused: When it answers with anything but an upgrade.
    """
    try:
        async with asyncio.timeout(deadline):
            reader, writer = await _connect(address)
            try:
                writer.write(_request(address, path, body))
                await writer.drain()
                await _accept(reader, doing)
            except BaseException:
                writer.close()
                raise
    except TimeoutError as exc:
        raise silent(address.endpoint, doing, deadline) from exc
    except (OSError, EOFError) as exc:  # asyncio's IncompleteReadError is an EOFError
        raise unreachable(address.endpoint, exc) from exc
    return Hijacked(reader, writer)


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    endpoint = address.endpoint
    if endpoint.kind == "unix":
        return await asyncio.open_unix_connection(endpoint.path, limit=_BUFFER)
    return await asyncio.open_connection(endpoint.host, endpoint.port, ssl=address.ssl, limit=_BUFFER)


def _request(address: Address, path: str, body: Mapping[str, JsonValue]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST /{address.api}/{path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
        f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _accept(reader: asyncio.StreamReader, doing: str) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as exc:
        raise EngineRefused(doing, status=0, text="the engine's answer has no end of header") from exc
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    # 101 is the upgrade; Podman and old engines answer 200 and go on all the same.
    if status in {101, 200}:
        return
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = headers.get("content-length", "")
    size = min(int(length), _HEAD_LIMIT) if length.isdigit() else _HEAD_LIMIT
    try:
        content = await reader.readexactly(size)
    except asyncio.IncompleteReadError as exc:
        content = exc.partial
    raise EngineRefused(doing, status=status, text=_sentence(content.decode("utf-8", "replace")))


def _sentence(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else text


class FrameDecoder:
    """Takes framed bytes apart. Gives what has come of a frame at once, without waiting for its end."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._stream = Stream.STDOUT
        self._left = 0

    @property
    def clean(self) -> bool:
        """Whether no frame is half read."""
        return not self._left and not self._header

    def feed(self, data: bytes) -> list[tuple[Stream, bytes]]:
        """Return the pieces of output in ``data``, in order."""
        pieces: list[tuple[Stream, bytes]] = []
        view = memoryview(data)
        while view:
            if self._left:
                piece = view[: self._left]
                view = view[len(piece) :]
                self._left -= len(piece)
                pieces.append((self._stream, bytes(piece)))
                continue
            missing = _HEADER.size - len(self._header)
            self._header += view[:missing]
            view = view[missing:]
            if len(self._header) == _HEADER.size:
                number, self._left = _HEADER.unpack(self._header)
                self._stream = Stream.STDERR if number == 2 else Stream.STDOUT
                self._header.clear()
        return pieces
