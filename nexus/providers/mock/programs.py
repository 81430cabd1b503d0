r"""The mock's own programs: as much of the usual ones as examples and tests need, and nothing that looks right and is not.

==========  ==========================================================================================================
``echo``    ``-n``; words joined by blanks
``printf``  ``%s %d %c %%`` and ``\n \t \r \\ \0ooo \ooo``; the format is used again while words are left
``cat``     files of the worktree, ``-`` and nothing for standard input
``head``    ``-c N`` and ``-n N``, of standard input, a file or ``/dev/zero``
``sleep``   seconds, with a fraction if need be
``env``     alone, or with ``NAME=value`` and a command to run
``pwd``, ``true``, ``false``, ``yes``, ``mkdir [-p]``, ``stty size``, ``test`` and ``[``, ``kill``
==========  ==========================================================================================================

An option that a program does not have is an error on standard error and status 2.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import anyio
import anyio.to_thread

from nexus.providers.mock import files
from nexus.providers.mock.pipes import CAPACITY, Bytes
from nexus.providers.mock.process import Input, Printer, Program, ProgramCall
from nexus.providers.mock.signals import signal_number

_ESCAPE: Final = re.compile(r"\\(?:0?([0-7]{1,3})|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}
_DIRECTIVE: Final = re.compile(r"%([sdc%])")
_USAGE: Final = 2


def encode(text: str) -> bytes:
    """Return words as the bytes a program gets: UTF-8, with bytes that are none of it as they were."""
    return text.encode("utf-8", "surrogateescape")


async def complain(call: ProgramCall, sentence: str, status: int = 1) -> int:
    """Print a sentence on standard error, behind the program's name, and return ``status``."""
    await call.stderr.send(encode(f"{call.argv[0].rpartition('/')[2]}: {sentence}\n"))
    return status


async def _true(call: ProgramCall) -> int:  # noqa: ARG001 - a program takes its call
    return 0


async def _false(call: ProgramCall) -> int:  # noqa: ARG001 - a program takes its call
    return 1


async def _echo(call: ProgramCall) -> int:
    words = call.argv[1:]
    bare = words[:1] == ("-n",)
    await call.stdout.send(encode(" ".join(words[1:] if bare else words) + ("" if bare else "\n")))
    return 0


async def _pwd(call: ProgramCall) -> int:
    await call.stdout.send(encode(f"{call.cwd}\n"))
    return 0


async def _yes(call: ProgramCall) -> int:
    line = encode(" ".join(call.argv[1:] or ("y",)) + "\n")
    block = line * max(1, CAPACITY // len(line))
    while True:
        await call.stdout.send(block)


async def _sleep(call: ProgramCall) -> int:
    try:
        total = sum(float(word) for word in call.argv[1:])
    except ValueError:
        return await complain(call, f"invalid time interval {call.argv[1]!r}")
    if len(call.argv) == 1:
        return await complain(call, "missing operand")
    await call.sleep(total)
    return 0


async def _env(call: ProgramCall) -> int:
    words = list(call.argv[1:])
    env = dict(call.env)
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if words and words[0].startswith("-"):
        return await complain(call, f"the mock's env has no option {words[0]}", _USAGE)
    if not words:
        await call.stdout.send(b"".join(encode(f"{name}={value}\n") for name, value in env.items()))
        return 0
    program = call.kernel.program(words[0])
    if program is None:
        return await complain(call, f"{words[0]}: No such file or directory", 127)
    child = call.child(tuple(words), env=env)
    child.begin(program)
    return await child.wait()


async def _cat(call: ProgramCall) -> int:
    status = 0
    for path in call.argv[1:] or ("-",):
        if path == "-":
            await _copy(call, None)
            continue
        try:
            await call.stdout.send(b"" if path == "/dev/null" else await files.read_file(call, path))
        except OSError as exc:
            status = await complain(call, f"{path}: {exc.strerror}")
    return status


async def _copy(call: ProgramCall, limit: int | None) -> None:
    while limit is None or limit > 0:
        try:
            data = await call.stdin.receive(CAPACITY if limit is None else min(limit, CAPACITY))
        except anyio.EndOfStream:
            return
        limit = None if limit is None else limit - len(data)
        await call.stdout.send(data)


async def _head(call: ProgramCall) -> int:
    match call.argv[1:]:
        case ["-c", count, *path] if count.isdigit() and len(path) <= 1:
            return await _head_bytes(call, int(count), path[0] if path else "-")
        case ["-n", count, *path] if count.isdigit() and len(path) <= 1:
            return await _head_lines(call, int(count), path[0] if path else "-")
    return await complain(call, "the mock's head takes -c N or -n N, and at most one file", _USAGE)


async def _head_lines(call: ProgramCall, count: int, path: str) -> int:
    source = call.stdin if path == "-" else Input(call, Bytes(await files.read_file(call, path)))
    while count > 0:
        try:
            lines = (await source.receive()).splitlines(keepends=True)[:count]
        except anyio.EndOfStream:
            break
        await call.stdout.send(b"".join(lines))
        count -= sum(line.endswith(b"\n") for line in lines)
    return 0


async def _head_bytes(call: ProgramCall, count: int, path: str) -> int:
    if path == "-":
        await _copy(call, count)
    elif path == "/dev/zero":
        block = bytes(CAPACITY)
        while count > 0:
            await call.stdout.send(block[:count])
            count -= CAPACITY
    else:
        await call.stdout.send((await files.read_file(call, path))[:count])
    return 0


async def _mkdir(call: ProgramCall) -> int:
    words = call.argv[1:]
    parents = words[:1] == ("-p",)
    for path in words[1:] if parents else words:
        try:
            host = await anyio.to_thread.run_sync(call.kernel.host_path, path, call.cwd)
            await anyio.Path(host).mkdir(parents=parents, exist_ok=parents)
        except OSError as exc:
            return await complain(call, f"cannot create directory {path!r}: {exc.strerror}")
    return 0


async def _printf(call: ProgramCall) -> int:
    if len(call.argv) == 1:
        return await complain(call, "missing operand", _USAGE)
    form, words = call.argv[1], list(call.argv[2:])
    pieces: list[bytes] = []
    takes = len([each for each in _DIRECTIVE.findall(form) if each != "%"])
    if "%" in _DIRECTIVE.sub("", form):
        return await complain(call, "the mock's printf knows %s, %d, %c and %% only", _USAGE)
    while True:
        values, words = words[:takes], words[takes:]
        pieces.append(_formatted(form, values))
        if not words or takes == 0:
            break
    await call.stdout.send(b"".join(pieces))
    return 0


def _formatted(form: str, values: list[str]) -> bytes:
    left = iter(values)
    result = bytearray()
    position = 0
    for match in re.finditer(f"{_DIRECTIVE.pattern}|{_ESCAPE.pattern}", form, re.DOTALL):
        result += encode(form[position : match.start()])
        position = match.end()
        directive, octal, letter = match.groups()
        if directive == "%":
            result += b"%"
        elif directive:
            result += _CONVERSIONS[directive](next(left, ""))
        elif octal:
            result.append(int(octal, 8) & 0xFF)
        else:
            result += encode(_ESCAPES.get(letter, f"\\{letter}"))
    return bytes(result + encode(form[position:]))


_CONVERSIONS: Final[Mapping[str, Callable[[str], bytes]]] = {
    "s": encode,
    "d": lambda word: str(int(word or "0")).encode(),
    "c": lambda word: encode(word[:1]),
}


async def _stty(call: ProgramCall) -> int:
    if call.argv[1:] != ("size",):
        return await complain(call, "the mock's stty knows 'size' only", _USAGE)
    pty = call.group.pty
    if pty is None or not call.stdin.isatty:
        return await complain(call, "standard input: Inappropriate ioctl for device")
    await call.stdout.send(f"{pty.rows} {pty.cols}\n".encode())
    return 0


async def _test(call: ProgramCall) -> int:
    words = list(call.argv[1:])
    if call.argv[0] == "[" and (not words or words.pop() != "]"):
        return await complain(call, "missing ]", _USAGE)
    negate = words[:1] == ["!"]
    try:
        result = await _truth(call, words[1:] if negate else words)
    except ValueError as exc:
        return await complain(call, str(exc), _USAGE)
    return int(result is negate)


async def _truth(call: ProgramCall, words: list[str]) -> bool:
    match words:
        case []:
            return False
        case [word]:
            return bool(word)
        case [question, word]:
            return await _unary(call, question, word)
        case [left, relation, right]:
            return _compare(left, relation, right)
        case _:
            raise _unknown(words)


async def _unary(call: ProgramCall, question: str, word: str) -> bool:
    match question:
        case "-n" | "-z":
            return bool(word) is (question == "-n")
        case "-t":
            streams: dict[str, Input | Printer] = {"0": call.stdin, "1": call.stdout, "2": call.stderr}
            return word in streams and streams[word].isatty
        case "-e" | "-f" | "-d":
            found = await files.kind(call, word)
            return found in {"-e": ("file", "folder"), "-f": ("file",), "-d": ("folder",)}[question]
        case _:
            raise _unknown([question, word])


def _compare(left: str, relation: str, right: str) -> bool:
    if relation in {"=", "==", "!="}:
        return (left == right) is (relation != "!=")
    order = {"-eq": (0,), "-ne": (-1, 1), "-lt": (-1,), "-le": (-1, 0), "-gt": (1,), "-ge": (0, 1)}
    if relation not in order:
        raise _unknown([left, relation, right])
    return ((int(left) > int(right)) - (int(left) < int(right))) in order[relation]


def _unknown(words: list[str]) -> ValueError:
    return ValueError(f"the mock's test does not know {' '.join(words)!r}")


async def _kill(call: ProgramCall) -> int:
    words = list(call.argv[1:])
    number = int(signal.SIGTERM)
    if words and words[0].startswith("-"):
        chosen = signal_number(words.pop(0)[1:])
        if chosen is None:
            return await complain(call, "unknown signal", _USAGE)
        number = chosen
    status = 0
    for word in words:
        target = call.kernel.find(int(word)) if word.isdigit() else None
        if target is None:
            status = await complain(call, f"({word}) - No such process")
        else:
            target.deliver(number)
    return status


PROGRAMS: Final[Mapping[str, Program]] = MappingProxyType(
    {
        "[": _test,
        "cat": _cat,
        "echo": _echo,
        "env": _env,
        "false": _false,
        "head": _head,
        "kill": _kill,
        "mkdir": _mkdir,
        "printf": _printf,
        "pwd": _pwd,
        "sleep": _sleep,
        "stty": _stty,
        "test": _test,
        "true": _true,
        "yes": _yes,
    }
)
"""Programs by name; the shell is :func:`nexus.providers.mock.shell.sh`."""
