"""The program of a terminal: started, started again where the last one was, joined when it outlived whoever served it."""

from __future__ import annotations

import contextlib
from typing import Final

from nexus.abc import KeptProcess, ProcessHandle
from nexus.errors import ExecStartError, NotFound, WorkspaceStopped
from nexus.models.execution import SpawnRequest
from nexus.models.terminals import TerminalState
from nexus.state import SavedTerminal
from nexus.terminals.host import TerminalHost
from nexus.terminals.terminal import Terminal

VARIABLE: Final = "NEXUS_TERMINAL"
"""Variable that holds a terminal's id in its programs."""
GRACE: Final = 1.0
"""Seconds between TERM and KILL for what a hang-up did not end."""
_NOT_THERE: Final = 127


async def start(terminal: Terminal, argv: tuple[str, ...], cwd: str | None, host: TerminalHost) -> ProcessHandle:
    """Start a program; where none is named, the best shell there is.

    Raises:
        ExecStartError: When it cannot be started, or there is no shell at all.
        NexusError: What starting anything there raises.

    Cancellation: it was not started, or is ended.
    """
    if not argv:
        for shell in host.shells[:-1]:
            try:
                return await host.spawn(_command(terminal, (shell,), cwd, host))
            except ExecStartError as error:
                if error.exit_code != _NOT_THERE:
                    raise
    return await host.spawn(_command(terminal, argv or host.shells[-1:], cwd, host))


async def start_again(
    terminal: Terminal, argv: tuple[str, ...], host: TerminalHost
) -> tuple[ProcessHandle, str | None]:
    """Start where the terminal was last; a folder that is gone gives way to the one it was opened in, and that to the tree's root.

    Returns:
        The program, and the folder it is in; ``None`` for the tree's root.
    """
    for folder in dict.fromkeys((terminal.cwd, terminal.plan.opened_in)):
        if folder is not None:
            with contextlib.suppress(ExecStartError):
                return await start(terminal, argv, folder, host), folder
    return await start(terminal, argv, None, host), None


async def join(known: SavedTerminal, host: TerminalHost) -> KeptProcess | None:
    """Take a program over that runs on by itself; ``None`` when there is none."""
    if known.exec_id is None or known.state is not TerminalState.RUNNING or not host.survives:
        return None
    request = SpawnRequest(
        argv=known.argv or host.shells[:1], stdin=True, pty=known.size, grace=GRACE, keep=known.scrollback
    )
    offset = known.newest - known.base if known.exact else 0
    try:
        return await host.rejoin(known.exec_id, request, offset=max(0, offset))
    except (NotFound, WorkspaceStopped):
        return None


def _command(terminal: Terminal, argv: tuple[str, ...], cwd: str | None, host: TerminalHost) -> SpawnRequest:
    plan = terminal.plan
    return SpawnRequest(
        argv=argv,
        cwd=cwd,
        env={**plan.env, VARIABLE: plan.id},
        user=plan.user,
        stdin=True,
        pty=terminal.size,
        grace=GRACE,
        keep=plan.scrollback if host.survives else 0,
    )
