"""From a terminal to what is written down of it, and back. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from nexus.abc import Clock
from nexus.models.terminals import TerminalInfo, TerminalState
from nexus.models.workspace import ProcessState
from nexus.secrets import Redactor
from nexus.state import SavedTerminal
from nexus.terminals.scrollback import Scrollback
from nexus.terminals.terminal import Plan, Terminal

LEAP = 1 << 40
"""Offsets go on at a multiple of this when it is not known how many bytes were printed: none is ever given to two different bytes."""


def saved(terminal: Terminal, redactor: Redactor, *, owner: ProcessState | None, now: datetime) -> SavedTerminal:
    """Return what is written down of a terminal, without the values of secrets."""
    plan = terminal.plan
    info = terminal.info
    argv = tuple(redactor.redact(word) for word in plan.argv)
    return SavedTerminal(
        id=plan.id,
        workspace=plan.workspace,
        name=redactor.redact(info.name),
        state=terminal.state,
        argv=argv,
        user=plan.user,
        opened_in=plan.opened_in,
        cwd=None if terminal.cwd is None else redactor.redact(terminal.cwd),
        title=redactor.redact(terminal.title),
        size=terminal.size,
        scrollback=plan.scrollback,
        keep_alive=plan.keep_alive,
        created_at=plan.created_at,
        saved_at=now,
        ended_at=terminal.ended_at,
        exit=terminal.exit,
        newest=terminal.kept.newest,
        resizes=terminal.marks.all,
        owner=owner,
        exec_id=terminal.handle.exec_id if terminal.handle is not None and terminal.survives else None,
        base=terminal.base,
        pid=terminal.pid,
        survives=terminal.survives,
        restored=terminal.restored,
    )


def masked(shown: bytes, known: SavedTerminal, redactor: Redactor) -> tuple[SavedTerminal, bytes]:
    """Return both with the values of secrets taken out. It takes its time: for a worker thread."""
    clean = redactor.redact_bytes(shown)
    return known.model_copy(update={"exact": clean == shown}), clean[-known.newest :] if known.newest else b""


def revived(known: SavedTerminal, shown: bytes, clock: Clock, *, joined: bool = False) -> Terminal:
    """Return a terminal as it was written down; no program runs in it.

    Its offsets go on where they ended when it is certain that nothing else was printed, or its program still has what it printed since.
    Otherwise they leap, so that a client that saw more than was written down is told of a gap.

    Args:
        known: What was written down.
        shown: What it showed.
        clock: Says when somebody types.
        joined: Whether its program runs and is about to be joined.
    """
    shown = shown[-known.scrollback :]
    certain = known.exact and (joined or known.owner is None)
    if certain:
        newest = known.newest
    elif joined:
        newest, shown = known.base, b""  # the program's backlog holds the same unmasked
    else:
        newest = (known.newest // LEAP + 1) * LEAP
    kept = Scrollback(known.scrollback, start=newest - len(shown))
    kept.append(shown)
    plan = Plan(
        id=known.id,
        workspace=known.workspace,
        argv=known.argv,
        user=known.user,
        opened_in=known.opened_in,
        scrollback=known.scrollback,
        keep_alive=known.keep_alive,
        created_at=known.created_at,
    )
    terminal = Terminal(plan, name=known.name, size=known.size, kept=kept, clock=clock)
    terminal.cwd, terminal.title, terminal.restored = known.cwd, known.title, known.restored
    terminal.state = TerminalState.EXITED if known.state is TerminalState.EXITED else TerminalState.KEPT
    terminal.exit, terminal.ended_at = known.exit, known.ended_at
    if certain and known.resizes:
        for mark in known.resizes:
            terminal.marks.add(mark)
    return terminal


def told(known: SavedTerminal, *, runs: bool, elsewhere: Callable[[ProcessState], str] | None) -> TerminalInfo:
    """Return what is known of a terminal that this process does not serve.

    Args:
        known: What was written down.
        runs: Whether its program can be joined.
        elsewhere: Names the process that serves it, when one does.
    """
    state = known.state
    if state is TerminalState.RUNNING and not runs:
        state = TerminalState.KEPT
    return TerminalInfo(
        id=known.id,
        workspace=known.workspace,
        name=known.name,
        state=state,
        argv=known.argv,
        cwd=known.cwd,
        user=known.user,
        title=known.title,
        size=known.size,
        pid=known.pid if runs else None,
        created_at=known.created_at,
        exit=known.exit,
        oldest=known.resizes[0].at_offset if known.resizes else 0,
        newest=known.newest,
        scrollback=known.scrollback,
        keep_alive=known.keep_alive,
        restored=known.restored,
        elsewhere=elsewhere(known.owner) if elsewhere is not None and known.owner is not None else None,
        survives=known.survives,
    )
