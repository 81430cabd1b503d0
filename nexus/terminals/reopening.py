"""What is run in a terminal that is opened again, and what is said about it. Pure.

Only what does nothing by itself is run again unasked, and that is a plain shell: a command that deploys, migrates or pays must not be done
twice because a machine was restarted. What comes from disk is believed even less: a clone may have brought it.
"""

from __future__ import annotations

import shlex
from typing import Final, NamedTuple

from nexus.models.terminals import SOFT_RESET

_SHELLS: Final = frozenset({"ash", "bash", "dash", "fish", "ksh", "mksh", "sh", "zsh"})
_FLAGS: Final = frozenset({"-i", "-l", "-il", "-li", "--login", "--noprofile", "--norc", "-f"})
_LONGEST: Final = 200


class Again(NamedTuple):
    """How a terminal is opened again."""

    argv: tuple[str, ...]
    note: str
    """What became of the program that was in it, in one clause."""


def is_plain_shell(argv: tuple[str, ...]) -> bool:
    """Return whether this is a shell that only waits for its user."""
    if not argv:
        return True
    folder, slash, name = argv[0].rpartition("/")
    known = f"{folder}{slash}" in {"", "/bin/", "/usr/bin/"}  # and not a file of the tree that is called so
    return known and name in _SHELLS and set(argv[1:]) <= _FLAGS


def again(argv: tuple[str, ...], *, rerun: bool) -> Again:
    """Return what to run in place of a program that is gone.

    Args:
        argv: What the terminal was opened with.
        rerun: Whether whoever opened it said that it may be run again.
    """
    if is_plain_shell(argv):
        return Again(argv, "this is a new shell")
    if rerun:
        return Again(argv, f"{_shown(argv)} was run again")
    return Again((), f"{_shown(argv)} was not run again, this is a shell")


def banner(note: str, folder: str | None) -> bytes:
    """Return the line that a terminal shows where its new program begins."""
    where = f"; it is in {_plain(folder)}" if folder else ""
    return SOFT_RESET + f"\r\n[nexus: {note}{where}]\r\n".encode()


def farewell(note: str) -> bytes:
    """Return the line that a terminal shows when its program is gone and it is kept."""
    return SOFT_RESET + f"\r\n[nexus: {_plain(note)}]\r\n".encode()


def _shown(argv: tuple[str, ...]) -> str:
    return _plain(shlex.join(argv))


def _plain(text: str) -> str:
    plain = "".join(character if character.isprintable() else "?" for character in text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"
