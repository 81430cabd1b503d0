"""How a script gets into a workspace and is run there: below a few lines of POSIX ``sh`` that need nothing but the shell. Pure.

The text travels in the environment of that shell: it is not written into the tree, no process list shows it, and no single
argument of the system is long enough for it. What the shell interprets itself it evaluates; for another interpreter it writes the
text to a file of its own outside the tree, readable by nobody else, and removes that when the interpreter has ended. The
variables are unset before anything of the script runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "NEXUS_SCRIPT_"
_PIECE: Final = 96_000
"""Bytes in one variable; Linux takes 128 KiB with its name."""
_PLAIN_OPTIONS: Final = re.compile(r"-[aefhuvx]+", re.ASCII)
_SHELL: Final = "/bin/sh"

# The shell reads all variables into one text before it evaluates any of that.
_EVALUATE: Final = 'eval "unset {names}; {text}"'

# $1 the name of a file that nobody can guess, then interpreter and argument. The file is made with noclobber, so that neither a
# file nor a link that is there already is written to. The shell outlives the signals of a time limit to remove the file; its
# child gets the defaults back.
_INTERPRET: Final = """\
_nx_s={text}
unset {names}
_nx_n=$1 _nx_f=
shift
if ! [ -x "$1" ]; then
  echo "nexus: the interpreter $1 that the first line names is not there" >&2
  exit 127
fi
for _nx_d in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm; do
  if (umask 077; set -C; printf '%s' "$_nx_s" >"$_nx_d/$_nx_n") 2>/dev/null; then
    _nx_f=$_nx_d/$_nx_n
    break
  fi
  rm -f "$_nx_d/$_nx_n" 2>/dev/null
done
if [ -z "$_nx_f" ]; then
  echo "nexus: there is no folder for temporary files that the script could be written to" >&2
  exit 126
fi
unset _nx_s _nx_n _nx_d
trap : HUP INT TERM
(trap - HUP INT TERM; exec "$@" "$_nx_f")
_nx_r=$?
rm -f "$_nx_f" 2>/dev/null || : >"$_nx_f"
exit $_nx_r
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A script made ready to be spawned."""

    argv: tuple[str, ...]
    env: dict[str, str]


def interpreter(text: str) -> tuple[str, ...]:
    """Return what the first line names, as the kernel reads it: a program and at most one argument; nothing without such a line."""
    if not text.startswith("#!"):
        return ()
    line = text[2:].split("\n", 1)[0].strip()
    return tuple(line.split(None, 1))


def invocation(name: str, text: str, *, nonce: str) -> Invocation:
    """Return how to run a script.

    Args:
        name: What it is called, for messages of the shell.
        text: The script.
        nonce: Something that nobody can guess, for the name of a file.
    """
    env = {f"{PREFIX}{number}": piece for number, piece in enumerate(_pieces(text))}
    whole = {"names": " ".join(env), "text": "".join(f"${{{variable}}}" for variable in env)}
    program = interpreter(text)
    if not program or (program[0] == _SHELL and all(_PLAIN_OPTIONS.fullmatch(option) for option in program[1:])):
        options = program[1:] if program else ("-e",)
        return Invocation((_SHELL, *options, "-c", _filled(_EVALUATE, whole), name), env)
    return Invocation((_SHELL, "-c", _filled(_INTERPRET, whole), name, f"nexus-{name}-{nonce}", *program), env)


def _filled(template: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        template = template.replace(f"{{{key}}}", value)
    return template


def _pieces(text: str) -> list[str]:
    """Cut a text so that no piece has more than so many bytes, and no character is cut."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        piece = text[start : start + _PIECE]
        while len(piece.encode()) > _PIECE:
            piece = piece[: max(1, len(piece) * _PIECE // len(piece.encode()) - 4)]
        pieces.append(piece)
        start += len(piece)
    return pieces
