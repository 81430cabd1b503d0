"""The reference page ``docs/reference/boulder.md``, written from the application so that it cannot fall behind it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, cast

from cli_example.app import build
from cli_example.errors import MEANINGS
from cli_example.options import shared

_HEAD: Final = """\
# `boulder`

<!-- Written by cli_example.reference.page(); change the commands, not this page. -->

The command line of Nexus. `pip install "nexus-workspace[docker,cli]"` installs it; in a checkout it is `python -m cli_example`.

## What holds for every command

- The options below may stand before or after the name of a group or a command. `--set` may be repeated, a later one
  overrides. `boulder workspace` and `boulder ws` are the same.
- Results go to standard output: tables on a terminal, plain aligned text elsewhere, and with `--json` one JSON document whose
  fields have the names of the library's models. Notes and progress go to standard error, progress only when that is a
  terminal or with `--verbose`.
- An error is `error[CODE]: sentence` on standard error, then what it is about, then `hint:` and the next step. With `--json`
  it is one line there instead, `{"error": {"code": …, "message": …, "hint": …, "retryable": …, "details": …}}`, and standard
  output stays empty.
- Ctrl-C undoes what was begun and then ends; a second one ends at once, and the next command finishes or undoes the rest.
- `boulder --install-completion` completes commands, options and the names of workspaces in your shell.
- A DURATION is `90`, `45s`, `30m` or `1h30m`.
"""

_EXIT: Final = """\
## Exit status

`exec` and `shell` end with the status of the command that ran inside. Otherwise:

| status | meaning |
| --- | --- |
"""

_EXEC: Final = """\
Standard input, output and error are the command's own, byte for byte, and an end of input reaches it. Options of `boulder`
stand before the command; from its first word on everything is the command's, and `--` before it is allowed. INT, TERM, QUIT
and HUP go to its whole process group. A command ended by signal n gives 128 + n, one killed at `--timeout` gives 124, one that
is not there 127, one that cannot be executed 126. With `--tty` it runs on a terminal of this one's size, and every key, Ctrl-C
too, goes to it.
"""

_MORE: Final[Mapping[str, str]] = {"boulder ws exec": _EXEC}


class _Parameter(Protocol):
    name: str
    opts: Sequence[str]
    secondary_opts: Sequence[str]
    param_type_name: str
    metavar: str | None
    required: bool
    help: str | None


class _Command(Protocol):
    help: str | None
    params: Sequence[_Parameter]
    commands: Mapping[str, _Command]


def page() -> str:
    """Return the page."""
    program = cast("_Command", build())
    common = frozenset(inspect.signature(shared).parameters)
    parts = [_HEAD, _options([each for each in program.params if each.name in common])]
    for path, command in _walk("boulder", program):
        usage = " ".join((path, *_words(command)))
        parts.append(f"## `{path}`\n\n```console\n{usage}\n```\n\n{_text(command)}\n")
        parts += [_MORE[path]] if path in _MORE else []
        parts.append(_options([each for each in command.params if each.name not in common]))
    meanings = "".join(f"| {status} | {meaning} |\n" for status, meaning in MEANINGS.items())
    parts.append(_EXIT + meanings)
    return "\n".join(part for part in parts if part)


def _walk(path: str, command: _Command) -> Iterator[tuple[str, _Command]]:
    for name, below in command.commands.items():
        if name == "workspace":
            continue  # `ws` is the same
        if hasattr(below, "commands"):
            yield from _walk(f"{path} {name}", below)
        else:
            yield f"{path} {name}", below


def _words(command: _Command) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if len(command.params) > len(arguments):
        yield "[OPTIONS]"
    yield from (each.metavar or each.name.upper() for each in arguments)


def _text(command: _Command) -> str:
    return " ".join((command.help or "").split())


def _options(parameters: Sequence[_Parameter]) -> str:
    rows = [f"| {_spelling(each)} | {each.help} |" for each in parameters if each.help and each.name != "help"]
    return "\n".join(("| option or argument | meaning |", "| --- | --- |", *rows)) + "\n" if rows else ""


def _spelling(parameter: _Parameter) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))


if __name__ == "__main__":
    sys.stdout.write(page())
