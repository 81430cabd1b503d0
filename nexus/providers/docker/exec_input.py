"""Standard input of a command: bytes, and its end, which a terminal takes as a character."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nexus.errors import StdinClosed
from nexus.models.execution import SpawnRequest

if TYPE_CHECKING:
    from asyncio import StreamWriter

_END_OF_FILE: Final = b"\x04"
"""A terminal has no half to close: end of file is a character."""


class CommandInput:
    """What is written to one command.

    Args:
        writer: The command's connection.
        request: What was asked for.
    """

    def __init__(self, writer: StreamWriter, request: SpawnRequest) -> None:
        self._writer = writer
        self._request = request
        self._open = request.stdin
        self._line_start = True

    def begin(self) -> None:
        """The command runs: on a terminal, one that is given no input is told so."""
        if self._request.pty is not None and not self._request.stdin:
            self._writer.write(_END_OF_FILE)

    def end(self) -> None:
        """The command has ended: nobody takes anything more."""
        self._open = False

    async def write(self, data: bytes) -> None:
        """Write; see :meth:`nexus.providers.docker.process.DockerProcess.write`."""
        if not self._open:
            raise self._closed()
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, RuntimeError) as exc:
            raise self._closed() from exc
        if data:
            self._line_start = data.endswith(b"\n")

    async def close(self) -> None:
        """Send end of file. Closing twice is fine, and so is a command that has ended."""
        if not self._open:
            return
        self._open = False
        try:
            if self._request.pty is not None:
                # In the middle of a line the first one only hands over what is there.
                self._writer.write(_END_OF_FILE if self._line_start else _END_OF_FILE * 2)
                await self._writer.drain()
            else:
                self._writer.write_eof()
        except OSError:
            return

    def _closed(self) -> StdinClosed:
        program = self._request.argv[0]
        if not self._request.stdin:
            return StdinClosed(f"standard input of {program} was not asked for", hint="pass stdin=True")
        return StdinClosed(f"standard input of {program} is closed")
