"""What the mock's shell has built in: the commands that change the shell itself."""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from nexus.providers.mock import files
from nexus.providers.mock.pipes import Sink, Source
from nexus.providers.mock.process import Input, Program
from nexus.providers.mock.signals import signal_number

if TYPE_CHECKING:
    from nexus.providers.mock.shell import Shell

Streams: TypeAlias = tuple[Source, Sink, Sink]
Builtin: TypeAlias = "Callable[[Shell, tuple[str, ...], Streams], Awaitable[int]]"

LEFT_OUT: Final = frozenset(
    {".", "alias", "break", "command", "continue", "getopts", "jobs", "local", "readonly", "return", "shift"}
    | {"source", "times", "type", "ulimit", "umask"}
)
"""Words of a real shell that this one refuses."""


class Leave(Exception):
    """The shell ends with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Replaced(Exception):
    """The shell's process becomes another program."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program


async def _colon(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:  # noqa: ARG001 - all share a signature
    return 0


async def _exit(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    if len(words) == 1:
        raise Leave(shell.status)
    if not words[1].isdigit():
        raise await shell.fatal(f"exit: {words[1]}: not a number", streams)
    raise Leave(int(words[1]) & 0xFF)


async def _cd(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    target = words[1] if len(words) > 1 else shell.variables.get("HOME", "/")
    folder = posixpath.normpath(posixpath.join(shell.call.cwd, target))
    if await files.kind(shell.call, folder) != "folder":
        await shell.say(f"cd: can't cd to {target}", streams)
        return 2
    shell.call.cwd = shell.variables["PWD"] = folder
    return 0


async def _export(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:  # noqa: ARG001 - all share a signature
    for word in words[1:]:
        name, given, value = word.partition("=")
        shell.exported.add(name)
        if given:
            shell.variables[name] = value
    return 0


async def _eval(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    return await shell.script(" ".join(words[1:]), streams)


async def _unset(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:  # noqa: ARG001 - all share a signature
    for name in words[1:]:
        shell.variables.pop(name, None)
    return 0


async def _trap(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    if len(words) < 3:
        raise await shell.fatal("trap needs an action and signals", streams)
    action = words[1]
    for word in words[2:]:
        number = 0 if word == "EXIT" else signal_number(word)
        if number is None:
            raise await shell.fatal(f"trap: {word}: bad trap", streams)
        shell.traps.pop(number, None)
        if action == "-":
            shell.call.signals.default(number)
        elif not action:
            shell.call.signals.ignore(number)
        else:
            shell.traps[number] = action
            shell.call.signals.trap(number)
    return 0


async def _wait(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    chosen = [child for child in shell.children if len(words) == 1 or str(child.pid) in words[1:]]
    if len(chosen) < len(words) - 1:
        return 127
    while any(child.status is None for child in chosen):
        if (number := shell.call.signals.next) is not None:
            await shell.take_signals(streams)
            return 128 + number
        await shell.call.group.bell.wait()
    await shell.call.runnable()
    return (chosen[-1].status or 0) if len(words) > 1 else 0


async def _read(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    names = [word for word in words[1:] if word != "-r"] or ["REPLY"]
    line, ended = await read_line(Input(shell.call, streams[0]))
    pieces = line.decode("utf-8", "surrogateescape").split(None, len(names) - 1)
    for index, name in enumerate(names):
        shell.variables[name] = pieces[index].strip() if index < len(pieces) else ""
    return int(ended)


async def _exec(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    if len(words) == 1:
        raise await shell.fatal("exec without a command is more than the mock's shell knows", streams)
    program = await shell.program(words[1], streams)
    if isinstance(program, int):
        raise Leave(program)
    shell.call.replace(words[1:], shell.environment(), streams)
    raise Replaced(program)


async def _set(shell: Shell, words: tuple[str, ...], streams: Streams) -> int:
    if words[1:] not in {("-e",), ("+e",)}:
        raise await shell.fatal("set other than -e and +e is more than the mock's shell knows", streams)
    shell.strict = words[1] == "-e"
    return 0


async def read_line(source: Input) -> tuple[bytes, bool]:
    """Return a line without its end, and whether the input ended before one came. Not a byte beyond it is read."""
    line = bytearray()
    while True:
        try:
            byte = await source.receive(1)
        except anyio.EndOfStream:
            return bytes(line), True
        if byte == b"\n":
            return bytes(line), False
        line += byte


BUILTINS: Final[Mapping[str, Builtin]] = MappingProxyType(
    {
        ":": _colon,
        "cd": _cd,
        "eval": _eval,
        "exec": _exec,
        "exit": _exit,
        "export": _export,
        "read": _read,
        "set": _set,
        "trap": _trap,
        "unset": _unset,
        "wait": _wait,
    }
)
