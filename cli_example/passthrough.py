"""A command inside, as if it ran here: bytes both ways untouched, signals and window size handed on, its status ours."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
import anyio.to_thread

import nexus
from cli_example.errors import TIMEOUT
from cli_example.signals import Signals
from nexus.errors import ProcessLost, StdinClosed

_STDIN: Final = 0
_FILES: Final = {nexus.Stream.STDOUT: 1, nexus.Stream.STDERR: 2}
_PIECE: Final = 64 * 1024

LOGIN: Final = (
    'for shell in "$SHELL" bash sh; do command -v "$shell" >/dev/null 2>&1 && exec "$shell"; done; exec /bin/sh'
)
"""Becomes the shell of whoever the workspace runs as, or the next best."""


def has_stdin() -> bool:
    """Return whether this process was given a standard input."""
    return sys.stdin is not None


def is_interactive() -> bool:
    """Return whether a person types and reads here."""
    return has_stdin() and os.isatty(0) and os.isatty(1)


def terminal() -> nexus.Pty:
    """Return a terminal like the one this process has; of the usual size when it has none."""
    with suppress(OSError):
        size = os.get_terminal_size(_STDIN)
        if size.lines and size.columns:
            return nexus.Pty(rows=size.lines, cols=size.columns, term=os.environ.get("TERM") or "xterm-256color")
    return nexus.Pty(term=os.environ.get("TERM") or "xterm-256color")


async def passthrough(command: nexus.Operation[nexus.Process], signals: Signals, *, on_terminal: bool) -> int:
    """Run a command to its end with this process's input, output and signals.

    Args:
        command: The command, not yet started.
        signals: Who gets this process's signals.
        on_terminal: Whether the command has a terminal, which this one's keys then go to unread.

    Returns:
        Its status; 128 + n after signal n, 124 at the time limit.

    Raises:
        ProcessLost: When the place it ran in went away.
        BrokenPipeError: When whoever read the output has gone; the command was ended.
    """
    async with command as process, anyio.create_task_group() as group:
        with signals.going_to(_Forwarding(process, group.cancel_scope)), raw(on_terminal):
            if has_stdin():
                group.start_soon(_feed, process)
            ended = await _drain(process)
            group.cancel_scope.cancel()
    if ended.timed_out:
        return TIMEOUT
    if ended.exit_code is None:
        raise ProcessLost(
            f"the place where {process.argv[0]} ran went away before it ended", result=await process.wait()
        )
    return ended.exit_code


class _Forwarding:
    """Hands signals on to the command's whole process group."""

    def __init__(self, process: nexus.Process, scope: anyio.CancelScope) -> None:
        self._process = process
        self._scope = scope

    async def __call__(self, number: signal.Signals) -> None:
        if number == signal.SIGWINCH:
            size = terminal()
            await self._process.resize(size.rows, size.cols)
            return
        await self._process.signal(number)
        if number == signal.SIGHUP:
            self._scope.cancel()  # nobody is there any more to end a command that ignores it


async def _drain(process: nexus.Process) -> nexus.Exited:
    async for event in process:
        match event:
            case nexus.Output():
                await anyio.to_thread.run_sync(write, _FILES[event.stream], event.data)
            case nexus.Gap():
                await anyio.to_thread.run_sync(write, 2, f"note: {event.end - event.start} bytes were lost\n".encode())
            case nexus.Exited():
                return event
            case nexus.Started():
                pass
    return nexus.Exited(exit_code=None, lost=True)


async def _feed(process: nexus.Process) -> None:
    with suppress(StdinClosed):  # a command need not read what it is given
        while data := await read():
            await process.write(data)
        await process.write_eof()


async def read() -> bytes:
    while True:
        try:
            await anyio.wait_readable(_STDIN)
            return os.read(_STDIN, _PIECE)
        except PermissionError:
            # An ordinary file or /dev/null: the kernel does not wait for those, because they are always ready.
            return await anyio.to_thread.run_sync(os.read, _STDIN, _PIECE)
        except BlockingIOError:
            continue  # another reader of the same terminal was faster
        except OSError:
            return b""  # the terminal hung up


def write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except BlockingIOError:
            select.select([], [file], [])  # somebody who shares it made it non-blocking


@contextmanager
def raw(wanted: bool) -> Generator[None, None, None]:
    """Let every key through to the command's own terminal, and put this one right again in the end."""
    if not (wanted and is_interactive()):
        yield
        return
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)
