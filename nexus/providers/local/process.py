"""One running command, as the caller sees it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from typing import Final

import anyio
from pydantic import JsonValue

from nexus.errors import ExecStartError, InvalidArgument, ProviderUnavailable, StdinClosed
from nexus.models.execution import ExecEvent, Exited, Gap, Output, SpawnRequest, Started, Stream
from nexus.models.ids import ExecId
from nexus.providers.local.channel import Channel, KeeperAway, call
from nexus.providers.local.keeper import frames
from nexus.providers.local.record import Run

_STREAMS: Final[Mapping[int, Stream]] = {frames.STDOUT: Stream.STDOUT, frames.STDERR: Stream.STDERR}
_CONTROL: Final = 10.0
"""Seconds that the keeper has to take a signal or a size."""
_MARGIN: Final = 10.0
"""Seconds beyond the grace that :meth:`LocalProcess.aclose` waits for the group's end."""


class LocalProcess:
    """Implements :class:`nexus.abc.ProcessHandle` over one connection to the workspace's keeper.

    Two tasks may read at once: each event goes to one of them. When the keeper is killed, ``Exited`` says ``lost``.

    Args:
        run: The keeper.
        channel: The connection on which the command was started.
        request: What was asked.
        started: The first event.
        known: How many bytes of its output are known already, when it was joined.
        begin: Where what it is given begins; later than ``known`` when the keeper has dropped something.
    """

    def __init__(
        self, run: Run, channel: Channel, request: SpawnRequest, started: Started, *, known: int = 0, begin: int = 0
    ) -> None:
        self._run = run
        self._channel = channel
        self._request = request
        self._started: Started | None = started
        self._exec_id = started.exec_id
        self._offsets = dict.fromkeys(Stream, begin)
        self._gap = Gap(stream=Stream.STDOUT, start=known, end=begin) if begin > known else None
        self._receiving = anyio.Lock()
        self._exited: Exited | None = None
        self._told = False
        self._closing = False
        self._input_ended = False

    @property
    def exec_id(self) -> ExecId:
        """The command's id."""
        return self._exec_id

    async def receive(self) -> ExecEvent:
        """Return the next event.

        Raises:
            anyio.EndOfStream: After ``Exited`` was returned.

        Cancellation: nothing is lost.
        """
        async with self._receiving:
            if self._started is not None:
                started, self._started = self._started, None
                return started
            if self._gap is not None:
                gap, self._gap = self._gap, None
                return gap
            output = None if self._exited is not None else await self._next()
            if output is not None:
                return output
            if self._told or self._exited is None:
                raise anyio.EndOfStream
            self._told = True
            return self._exited

    async def write(self, data: bytes) -> None:
        """Write to standard input; returns when the keeper or the command has taken the bytes.

        Raises:
            StdinClosed: When the command no longer reads, or standard input was closed or never asked for.

        Cancellation: the command gets a part that ends with one of the written pieces of 64 KiB.
        """
        if not self._request.stdin:
            raise StdinClosed("standard input was not asked for", hint="spawn the command with stdin=True")
        if self._input_ended:
            raise StdinClosed("standard input was closed")
        for start in range(0, len(data), frames.CHUNK):
            try:
                await self._channel.send(frames.STDIN, data[start : start + frames.CHUNK])
            except BrokenPipeError as exc:
                raise StdinClosed(f"{self._request.argv[0]} no longer reads its standard input") from exc

    async def close_stdin(self) -> None:
        """Send end of file to standard input. Closing twice is fine, and so is a command that no longer reads."""
        if self._request.stdin:
            self._input_ended = True
            with contextlib.suppress(BrokenPipeError):
                await self._channel.send(frames.STDIN_END, b"")

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole process group. A command that has ended is fine.

        Raises:
            InvalidArgument: When the system has no such signal.
        """
        if not 1 <= number <= 64:
            raise InvalidArgument(f"there is no signal {number}")
        await self._control("signal", number=number)

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the command's terminal its new size in character cells. Without a terminal: nothing.

        Raises:
            InvalidArgument: When a side is not between 1 and 65535.
        """
        if not (1 <= rows <= 65535 and 1 <= cols <= 65535):
            raise InvalidArgument(f"a terminal cannot have {rows} rows and {cols} columns")
        await self._control("resize", rows=rows, cols=cols)

    async def aclose(self) -> None:
        """Let go of the command: if it still runs its group is ended as at a time-out. Never raises for an ended command.

        Output that nobody has received is dropped; ``Exited`` can still be received.

        Cancellation: shielded; it takes the grace and little more at the most.
        """
        if self._closing:
            return
        self._closing = True
        with anyio.move_on_after(self._request.grace + _MARGIN, shield=True):
            if self._exited is None or self._request.keep:
                await self._ask("end")
            while self._exited is None:
                async with self._receiving:
                    if self._exited is None:
                        await self._next()
        self._channel.close()
        if self._exited is None:
            self._exited = Exited(exit_code=None, lost=True)

    async def leave(self) -> None:
        """Let go of the command. One whose request says ``keep`` runs on; any other one ends, as when this program dies."""
        self._closing = True
        self._channel.close()

    async def _control(self, operation: str, **arguments: JsonValue) -> None:
        if self._exited is None:
            await self._ask(operation, **arguments)

    async def _ask(self, operation: str, **arguments: JsonValue) -> None:
        with contextlib.suppress(KeeperAway, ProviderUnavailable), anyio.move_on_after(_CONTROL):
            await call(self._run, operation, exec_id=self._exec_id, **arguments)

    async def _next(self) -> Output | None:
        """Return output, or note the end and return nothing. The caller holds the lock."""
        frame = await self._channel.receive()
        if frame is None:
            self._exited = Exited(exit_code=None, lost=True)
            return None
        if frame.kind == frames.EXITED:
            self._exited = Exited(**json.loads(frame.payload))
            return None
        stream = _STREAMS[frame.kind]
        offset = self._offsets[stream]
        self._offsets[stream] += len(frame.payload)
        return Output(stream=stream, offset=offset, data=frame.payload)


def not_started(request: SpawnRequest, cwd: str, stage: str, number: int) -> ExecStartError:
    """Return the error for a command that the keeper could not start."""
    program = request.argv[0]
    reason = os.strerror(number)
    if stage == "cwd":
        return ExecStartError(
            f"the command cannot start in {cwd}: {reason}", exit_code=126, hint="is the folder there?"
        )
    if stage == "interpreter":
        return ExecStartError(
            f"{program} is there, but the interpreter it asks for is not", exit_code=126, hint="see its first line"
        )
    if stage == "program" and number == errno.ENOENT:
        where = cwd if "/" in program else "PATH"
        return ExecStartError(f"{program}: no such program in {where}", exit_code=127)
    if number == errno.E2BIG:
        return ExecStartError(
            f"{program}: the arguments and the environment are longer than the system takes",
            exit_code=126,
            hint="pass long data by standard input or in a file; Linux takes 128 KiB in one argument",
        )
    if number == errno.ENOEXEC:
        return ExecStartError(
            f"{program} is no program for this system",
            exit_code=126,
            hint="a script needs a first line such as #!/bin/sh",
        )
    return ExecStartError(f"{program} cannot be executed: {reason}", exit_code=126)
