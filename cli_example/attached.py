"""A terminal of a workspace on this one: its bytes, our keys, until its program ends or the detach key is pressed."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Final

import anyio
import anyio.to_thread
import typer

import nexus
from cli_example.passthrough import has_stdin, raw, read, terminal, write
from cli_example.session import Cli
from nexus.errors import NotController, NotFound, StdinClosed
from nexus.models.terminals import SOFT_RESET, TerminalExited, TerminalGap, TerminalOutput

UNKNOWN: Final = 1
"""The status of a program whose end was not seen."""
_OUT: Final = 1


def key(name: str) -> bytes:
    """Return the byte that a key sends.

    Raises:
        typer.BadParameter: When it is no control key.
    """
    letter = name.lower().removeprefix("ctrl-").upper()
    if not name.lower().startswith("ctrl-") or len(letter) != 1 or not "@" <= letter <= "_":
        raise typer.BadParameter(f"{name!r} is no control key; write 'ctrl-]' or 'ctrl-q', for example")
    return bytes([ord(letter) - ord("@")])


async def chosen(terminals: nexus.Terminals, given: str | None) -> nexus.TerminalInfo:
    """Return the terminal that is meant: by its id, by its name, or the only one there is.

    Raises:
        NotFound: When there is none, or more than one could be meant.
    """
    listed = await terminals.list()
    found = [info for info in listed if given in {None, info.id, info.name}]
    if len(found) == 1:
        return found[0]
    what = "no terminal" if not found else f"{len(found)} terminals"
    hint = f"name one: {', '.join(f'{info.id} ({info.name})' for info in found or listed)}" if listed else None
    raise NotFound(f"there is {what} {f'called {given!r}' if given else 'to choose from'}", hint=hint)


async def attached(cli: Cli, name: str, operation: nexus.Operation[nexus.Terminal], *, detach: bytes) -> int:
    """Show a terminal here until its program ends, or the detach key is pressed.

    Args:
        cli: Whose signals go there.
        name: The workspace, for the line that says how to come back.
        operation: Opens it or attaches to it; whatever happens here, its program is not ended.
        detach: The byte that the detach key sends.

    Returns:
        The program's status; 0 when it runs on.
    """
    there = await operation
    left = anyio.Event()

    async def on_signal(number: signal.Signals) -> None:
        if number != signal.SIGWINCH:
            left.set()  # asked to end: the program stays
        elif there.role == "controller":
            size = terminal()
            await there.resize(size.rows, size.cols)

    status: list[int | None] = []
    try:
        with cli.signals.going_to(on_signal), raw(has_stdin()):
            async with anyio.create_task_group() as group:
                if has_stdin():
                    group.start_soon(_feed, there, detach, left)
                group.start_soon(_show, there, status, left)
                await left.wait()
                group.cancel_scope.cancel()
            write(_OUT, SOFT_RESET if not status else b"")
    finally:
        with anyio.CancelScope(shield=True):
            await there.detach()
    if status:
        return UNKNOWN if status[0] is None else status[0]
    becomes = "goes on" if there.info.survives else "is opened again when you come back"
    cli.note(f"terminal {there.info.name} {becomes}: boulder ws terminal attach {name} {there.id}")
    return 0


async def _show(there: nexus.Terminal, status: list[int | None], left: anyio.Event) -> None:
    await anyio.to_thread.run_sync(write, _OUT, there.take_prefix())
    async for event in there.events():
        match event:
            case TerminalOutput(data=data):
                await anyio.to_thread.run_sync(write, _OUT, data)
            case TerminalGap(prefix=prefix):
                await anyio.to_thread.run_sync(write, _OUT, prefix)
            case TerminalExited(exit=how):
                status.append(how.exit_code)
            case _:
                pass
    left.set()


async def _feed(there: nexus.Terminal, detach: bytes, left: anyio.Event) -> None:
    while data := await read():
        before, found, _ = data.partition(detach)
        if before:
            with suppress(NotController, StdinClosed):  # a viewer's keys go nowhere
                await there.write(before)
        if found:
            left.set()
            return
