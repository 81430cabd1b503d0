"""Shells that wait inside a container for the next command, so that the command need not wait for the engine.

Starting a program through the engine takes tens of milliseconds, most of them the runtime's. A prepared shell has them behind
it: it is given a command on its standard input and launches it with the same lines of ``sh`` as a shell that the engine starts
for one command alone (:mod:`nexus.providers.docker.exec_script`). After a command without standard input that left nothing
running it waits for the next one; after any other it ends, and another is made.

The text of a command is sent first and the word to go only after the shell has answered. A paused container does not answer, so
nothing is started there later, when it goes on and its caller is long gone. When this process dies the shells read the end of
their input, and end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from nexus.errors import NexusError
from nexus.models.execution import SpawnRequest
from nexus.models.ids import ExecId
from nexus.providers.docker.client import Engine
from nexus.providers.docker.exec_control import create_exec
from nexus.providers.docker.exec_marks import Ready
from nexus.providers.docker.exec_output import OutputAssembler
from nexus.providers.docker.exec_script import hand_over, passes_shell, serving_shell
from nexus.providers.docker.exec_stream import Hijacked, hijack
from nexus.providers.docker.freezing import StartGate

ASKED_BEFORE: Final = 1
"""Commands that a process runs in a workspace before shells are prepared there: most programs that run a second run more."""

_ANSWER: Final = 0.25
"""Seconds in which a shell says that it has read a command. A healthy one takes a millisecond; then the engine is asked instead."""
_MAKE_DEADLINE: Final = 30.0
_TEXT_LIMIT: Final = 16 * 1024
"""Shells read a byte at a time: a longer command is started sooner by the engine."""


@dataclass(frozen=True, slots=True)
class PreparedShell:
    """One that waits."""

    stream: Hijacked
    number: str
    """The engine's id for it."""
    token: str

    def close(self) -> None:
        """Let it read the end of its input, at which it ends."""
        self.stream.close()

    async def take(self, request: SpawnRequest, nonce: ExecId) -> OutputAssembler | None:
        """Hand it a command and let it go. ``None`` when it does not answer; nothing was started then and never will be.

        Cancelled before it was let go: the shell has to be closed.
        """
        try:
            self.stream.writer.write(hand_over(request, nonce, self.token))
            async with asyncio.timeout(_ANSWER):
                if not await self.answers(nonce):
                    return None
            self.stream.writer.write(b"go\n")
        except (OSError, TimeoutError):
            return None
        return OutputAssembler(framed=True, nonce=nonce, both=True)

    async def answers(self, nonce: str) -> bool:
        """Wait for its mark that it has read what it was given; false when anything else comes, or the end."""
        assembler = OutputAssembler(framed=True, nonce=nonce)
        try:
            while data := await self.stream.reader.read(4096):
                if items := assembler.feed(data):
                    return items == [Ready()] and assembler.clean
        except OSError:
            return False
        return False


def can_serve(request: SpawnRequest) -> bool:
    """Return whether a prepared shell can run this. The rest is started by the engine itself."""
    if request.pty is not None or request.user or not passes_shell(request.env) or not request.keeps_awake:
        return False
    words = (*request.argv, *request.env, *request.env.values(), request.cwd or "")
    return sum(map(len, words)) < _TEXT_LIMIT


class ShellPool:
    """The prepared shells of one container.

    Args:
        engine: The engine.
        container: The container's id.
        gate: Held while one starts.
        size: How many wait at most; none when zero.
    """

    def __init__(self, engine: Engine, container: str, gate: StartGate, size: int) -> None:
        self._engine = engine
        self._container = container
        self._gate = gate
        self._size = size
        self._asked = 0
        self._waiting: deque[PreparedShell] = deque()
        self._making: deque[asyncio.Task[PreparedShell | None]] = deque()
        self._all: set[asyncio.Task[PreparedShell | None]] = set()
        self._closed = False

    async def get(self) -> PreparedShell | None:
        """Return a shell that nobody else has; ``None`` when the engine is the quicker way.

        Cancelled: no shell is lost; one that was being made waits for the next caller.
        """
        self._asked += 1
        if self._closed or not self._size or self._asked <= ASKED_BEFORE:
            return None
        while self._waiting:
            shell = self._waiting.pop()
            if not shell.stream.reader.at_eof() and not shell.stream.writer.is_closing():
                self._fill()
                return shell
            shell.close()
        self._fill()
        if not self._making:
            return None
        # It was asked for earlier than anything that the engine would be asked for now.
        task = self._making.popleft()
        try:
            shell_made = await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                task.add_done_callback(self._keep)
            raise
        self._fill()
        return shell_made

    def give_back(self, shell: PreparedShell) -> None:
        """Take a shell that has said that it is idle."""
        if self._closed or len(self._waiting) >= self._size:
            shell.close()
        else:
            self._waiting.append(shell)

    async def aclose(self) -> None:
        """End every shell that waits or is being made. The pool gives none from then on."""
        self._closed = True
        for task in tuple(self._all):
            task.cancel()
        if self._all:
            await asyncio.wait(tuple(self._all))
        while self._waiting:
            self._waiting.popleft().close()

    def _fill(self) -> None:
        # One in reserve is enough: most come back in a moment, and making one slows down what runs meanwhile.
        if not self._closed and not self._waiting and not self._making:
            task = asyncio.create_task(self._make())
            self._making.append(task)
            self._all.add(task)
            task.add_done_callback(self._made)

    def _made(self, task: asyncio.Task[PreparedShell | None]) -> None:
        self._all.discard(task)
        if task in self._making:
            self._making.remove(task)
            self._keep(task)

    def _keep(self, task: asyncio.Task[PreparedShell | None]) -> None:
        shell = None if task.cancelled() else task.result()
        if shell is not None:
            self.give_back(shell)

    async def _make(self) -> PreparedShell | None:
        """Make one; ``None`` when the engine refuses: the caller then asks it for the command itself and gets the reason."""
        token = secrets.token_hex(16)
        body: dict[str, JsonValue] = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "Cmd": list(serving_shell(token)),
        }
        try:
            async with self._gate.starting(), asyncio.timeout(_MAKE_DEADLINE):
                number = await create_exec(self._engine, self._container, body, deadline=_MAKE_DEADLINE)
                stream = await hijack(
                    await self._engine.address(),
                    f"exec/{number}/start",
                    {"Detach": False, "Tty": False},
                    doing="prepare a shell",
                    deadline=_MAKE_DEADLINE,
                )
                shell = PreparedShell(stream, number, token)
                try:
                    if await shell.answers(token):
                        return shell
                except BaseException:
                    shell.close()
                    raise
                shell.close()
        except (NexusError, TimeoutError):
            pass
        return None
