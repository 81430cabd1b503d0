"""The line discipline of a simulated terminal: echo, line editing left out, ``^C`` and ``^D``, carriage returns.

Input is handed over line by line, as a terminal in its usual (canonical) mode does it.
"""

from __future__ import annotations

import signal
from typing import Final

from nexus.models.execution import Stream
from nexus.providers.mock.pipes import Outlet, Sink
from nexus.providers.mock.process import ProcessGroup

_INTERRUPT: Final = 0x03
_END: Final = 0x04
_RETURN: Final = 0x0D
_NEWLINE: Final = 0x0A


class Terminal:
    """Takes what a person types and gives it to the command.

    Args:
        group: Who gets ``SIGINT`` at ``^C``.
        outlet: Where the echo goes.
        line: The writing end of the command's standard input.
    """

    def __init__(self, group: ProcessGroup, outlet: Outlet, line: Sink) -> None:
        self._group = group
        self._outlet = outlet
        self._line = line
        self._typed = bytearray()
        self.ended = False

    async def type(self, data: bytes) -> None:
        """Take typed bytes, in order; waits while the command does not read its lines."""
        for key in data:
            if key == _INTERRUPT:
                self._typed.clear()
                self._echo(b"^C\r\n")
                self._group.deliver(signal.SIGINT)
            elif key == _END:
                await self._end_of_file()
            else:
                character = _NEWLINE if key == _RETURN else key
                self._typed.append(character)
                self._echo(b"\r\n" if character == _NEWLINE else bytes([character]))
                if character == _NEWLINE:
                    await self._hand_over()

    async def end(self) -> None:
        """Hand over what was typed, and then the end of the input, as a person does it with ``^D``, twice if need be."""
        if self._typed:
            await self._hand_over()
        await self._end_of_file()

    async def _hand_over(self) -> None:
        line = bytes(self._typed)
        self._typed.clear()
        await self._line.send(line)

    async def _end_of_file(self) -> None:
        # In the middle of a line ^D hands over what was typed; at its start it means the end.
        if self._typed:
            await self._hand_over()
        elif not self.ended:
            self.ended = True
            self._line.release()

    def _echo(self, data: bytes) -> None:
        self._outlet.force(Stream.STDOUT, data)
