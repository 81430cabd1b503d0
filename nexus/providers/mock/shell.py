"""The mock's ``sh``: runs the language of :mod:`nexus.providers.mock.syntax` on simulated processes.

A command is a process of its own, also in a pipeline, in parentheses and behind ``&``; signals, ``$!``, ``$$`` and exit statuses
behave as POSIX has them. A background command reads from the null device.

Built in: ``: exit cd eval export unset trap wait read exec set [-+]e``. Other words are programs of the mock; one that is missing is
status 127. Words of a real shell that are left out (``break``, ``local``, ``shift`` …) are status 2 and a sentence that says so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from nexus.providers.mock.builtins import BUILTINS, LEFT_OUT, Leave, Replaced, Streams, read_line
from nexus.providers.mock.expansion import fields_of, text_of
from nexus.providers.mock.files import kind, open_sink, open_source, read_file
from nexus.providers.mock.lexer import ShellSyntaxError, Word
from nexus.providers.mock.pipes import Null, Pipe
from nexus.providers.mock.process import Input, Printer, Program, ProgramCall
from nexus.providers.mock.programs import encode
from nexus.providers.mock.syntax import Command, Compound, If, Item, Loop, Pipeline, Redirect, Script, Simple, parse

_SYNTAX: Final = 2


class Shell:
    """One shell process."""

    def __init__(self, call: ProgramCall, name: str, arguments: tuple[str, ...]) -> None:
        self.call = call
        self._name = name
        self.arguments = arguments
        self.variables = dict(call.env)
        self.exported = set(call.env)
        self.status = 0
        self._background: ProgramCall | None = None
        self.children: list[ProgramCall] = []
        self.traps: dict[int, str] = {}
        self._main_pid = call.pid
        self.strict = False
        self._tested = 0
        self._becomes: Command | None = None

    @property
    def streams(self) -> Streams:
        """What the shell itself reads and writes."""
        return (self.call.stdin.source, self.call.stdout.sink, self.call.stderr.sink)

    async def run(self, work: Callable[[], Awaitable[int]]) -> int:
        """Do ``work``, then what was set for the end; return the status of the whole shell."""
        try:
            self.status = await work()
            await self.take_signals(self.streams)
        except Leave as ending:
            self.status = ending.status
        except Replaced as replaced:
            return await replaced.program(self.call)
        try:
            if farewell := self.traps.pop(0, None):
                status = self.status
                await self.script(farewell, self.streams)
                self.status = status  # unless the farewell itself says exit
        except Leave as ending:
            self.status = ending.status
        return self.status

    async def script(self, text: str, streams: Streams) -> int:
        """Run a script."""
        try:
            tree = parse(text)
        except ShellSyntaxError as exc:
            raise await self.fatal(f"syntax error: {exc}", streams) from exc
        return await self.sequence(tree, streams)

    async def lines(self, streams: Streams) -> int:
        """Run standard input line by line, with a prompt on a terminal; a command may not span lines."""
        source = Input(self.call, streams[0])
        ended = False
        while not ended:
            if source.isatty:
                await Printer(self.call, streams[1]).send(b"$ ")
            line, ended = await read_line(source)
            await self.script(line.decode("utf-8", "surrogateescape"), streams)
        return self.status

    async def sequence(self, tree: Script, streams: Streams) -> int:
        """Run a list; return the status of its last command."""
        for item in tree:
            await self.call.runnable()
            await self.take_signals(streams)
            if item.background:
                await self._start_background(item, streams)
                self.status = 0
            else:
                self.status = await self._item(item, streams)
        return self.status

    # Lists and compound commands ------------------------------------------------------------------------------------

    async def _item(self, item: Item, streams: Streams) -> int:
        with self._examined(active=bool(item.rest) or item.first.negate):
            status = await self._pipeline(item.first, streams)
            self.status = status
            for operator, pipeline in item.rest:
                if (operator == "&&") == (status == 0):
                    status = await self._pipeline(pipeline, streams)
                    self.status = status
        if status and self.strict and not self._tested and not item.rest and not item.first.negate:
            raise Leave(status)
        return status

    async def _start_background(self, item: Item, streams: Streams) -> None:
        child = self._fork((Null(), *streams[1:]))
        foreground = Item(item.first, item.rest, background=False)
        child.begin(self._inside((foreground,)))
        self._background = child
        self.children.append(child)

    async def _pipeline(self, pipeline: Pipeline, streams: Streams) -> int:
        if len(pipeline.commands) == 1:
            status = await self._command(pipeline.commands[0], streams)
        else:
            status = await self._joined(pipeline.commands, streams)
        return int(status == 0) if pipeline.negate else status

    async def _joined(self, commands: tuple[Command, ...], streams: Streams) -> int:
        children: list[tuple[ProgramCall, Command]] = []
        source = streams[0]
        for index, command in enumerate(commands):
            pipe = Pipe() if index + 1 < len(commands) else None
            children.append((self._fork((source, pipe.writer if pipe else streams[1], streams[2])), command))
            source = pipe.reader if pipe else source
        for child, command in children:
            child.begin(self._inside((Item(Pipeline((command,), negate=False), (), background=False),)))
        return [await child.wait() for child, _ in children][-1]

    async def _command(self, command: Command, streams: Streams) -> int:
        match command:
            case Simple():
                return await self._simple(command, streams)
            case Compound():
                return await self._compound(command, streams)
            case If():
                return await self._if(command, streams)
            case Loop():
                return await self._loop(command, streams)

    async def _compound(self, command: Compound, streams: Streams) -> int:
        inner = await self._redirected(command.redirects, streams)
        if inner is None:
            return 1
        if not command.subshell:
            return await self.sequence(command.body, inner)
        child = self._fork(inner)
        child.begin(self._inside(command.body))
        return await child.wait()

    async def _if(self, command: If, streams: Streams) -> int:
        for condition, body in command.branches:
            if await self._test(condition, streams) == 0:
                return await self.sequence(body, streams)
        return await self.sequence(command.otherwise, streams) if command.otherwise else 0

    async def _loop(self, command: Loop, streams: Streams) -> int:
        status = 0
        while (await self._test(command.condition, streams) == 0) is not command.stop_on:
            status = await self.sequence(command.body, streams)
        return status

    @contextmanager
    def _examined(self, *, active: bool) -> Iterator[None]:
        """Mark commands whose status somebody looks at, so that ``set -e`` lets them fail."""
        self._tested += active
        try:
            yield
        finally:
            self._tested -= active

    async def _test(self, condition: Script, streams: Streams) -> int:
        with self._examined(active=True):
            return await self.sequence(condition, streams)

    # Simple commands ------------------------------------------------------------------------------------------------

    async def _simple(self, command: Simple, streams: Streams) -> int:
        words = self._fields(command.words)
        values = {name: text_of(word, self._parameter) for name, word in command.assignments}
        inner = await self._redirected(command.redirects, streams)
        if inner is None:
            return 1
        if not words:
            self.variables.update(values)
            return 0
        if words[0] in LEFT_OUT:
            raise await self.fatal(f"{words[0]!r} is more than the mock's shell knows", inner)
        if builtin := BUILTINS.get(words[0]):
            self.variables.update(values)
            return await builtin(self, words, inner)
        program = await self.program(words[0], inner)
        if isinstance(program, int):
            return program
        if command is self._becomes:
            self.call.replace(words, self.environment() | values, inner)
            raise Replaced(program)
        child = self.call.child(words, env=self.environment() | values, streams=inner)
        child.begin(program)
        return await child.wait()

    async def program(self, name: str, streams: Streams) -> Program | int:
        """Return the program of this name, or the status that a shell gives, after saying why, when there is none."""
        program = self.call.kernel.program(name)
        if program is not None:
            return program
        if "/" in name and await kind(self.call, name):
            await self.say(f"{name}: Permission denied", streams)
            return 126
        await self.say(f"{name}: not found", streams)
        return 127

    async def _redirected(self, redirects: tuple[Redirect, ...], streams: Streams) -> Streams | None:
        source, *sinks = streams
        for redirect in redirects:
            target = text_of(redirect.target, self._parameter)
            try:
                if redirect.operator == "<" and redirect.descriptor == 0:
                    source = await open_source(self.call, target)
                elif redirect.descriptor not in {1, 2} or redirect.operator == "<":
                    raise await self.fatal(
                        f"descriptor {redirect.descriptor} is more than the mock's shell knows", streams
                    )
                elif redirect.operator == ">&":
                    if target not in {"1", "2"}:
                        raise await self.fatal(f">&{target} is more than the mock's shell knows", streams)
                    sinks[redirect.descriptor - 1] = sinks[int(target) - 1]
                else:
                    append = redirect.operator == ">>"
                    sinks[redirect.descriptor - 1] = await open_sink(self.call, target, append=append)
            except OSError as exc:
                await self.say(f"cannot open {target}: {exc.strerror}", streams)
                return None
        return (source, sinks[0], sinks[1])

    # Words ----------------------------------------------------------------------------------------------------------

    def _fields(self, words: tuple[Word, ...]) -> tuple[str, ...]:
        return tuple(field for word in words for field in fields_of(word, self._parameter, self.arguments))

    def _parameter(self, name: str) -> str:
        special = {
            "?": str(self.status),
            "$": str(self._main_pid),
            "!": "" if self._background is None else str(self._background.pid),
            "#": str(len(self.arguments)),
            "0": self._name,
            "@": " ".join(self.arguments),
            "*": " ".join(self.arguments),
        }
        if name in special:
            return special[name]
        if name.isdigit():
            return self.arguments[int(name) - 1] if int(name) <= len(self.arguments) else ""
        return self.variables.get(name, "")

    def environment(self) -> dict[str, str]:
        """Return what a child gets."""
        return {name: value for name, value in self.variables.items() if name in self.exported}

    # Processes and signals ------------------------------------------------------------------------------------------

    def _fork(self, streams: Streams) -> ProgramCall:
        return self.call.child(self.call.argv, env=self.environment(), streams=streams)

    def _inside(self, body: Script) -> Program:
        """Return a program that runs ``body`` in a copy of this shell."""

        async def program(call: ProgramCall) -> int:
            shell = Shell(call, self._name, self.arguments)
            shell.variables = dict(self.variables)
            shell.exported = set(self.exported)
            shell.status, shell._main_pid, shell.strict = self.status, self._main_pid, self.strict
            shell._background = self._background
            # A copy that has one command to run becomes it, so that $! is that command's own number.
            shell._becomes = _only_command(body)
            return await shell.run(lambda: shell.sequence(body, shell.streams))

        return program

    async def take_signals(self, streams: Streams) -> None:
        """Run the actions of the trapped signals that came."""
        while (number := self.call.signals.take()) is not None:
            if text := self.traps.get(number):
                status = self.status
                await self.script(text, streams)
                self.status = status

    async def say(self, sentence: str, streams: Streams) -> None:
        """Print a sentence on standard error, behind the shell's name."""
        await Printer(self.call, streams[2]).send(encode(f"{self._name}: {sentence}\n"))

    async def fatal(self, sentence: str, streams: Streams) -> Leave:
        """Print a sentence and return what ends the shell with status 2."""
        await self.say(sentence, streams)
        return Leave(_SYNTAX)


def _only_command(body: Script) -> Command | None:
    match body:
        case (Item(first=Pipeline(commands=(command,), negate=False), rest=()),):
            return command
        case _:
            return None


async def sh(call: ProgramCall) -> int:
    """The program ``sh``: ``-c SCRIPT [NAME [ARGUMENT…]]``, a file of the worktree, or lines of standard input; ``-e``, ``-l``."""
    words = list(call.argv[1:])
    flags = ""
    while words and words[0].startswith("-") and words[0] != "-":
        flags += words.pop(0)[1:]
    name = posixpath.basename(call.argv[0])
    if set(flags) - set("cels"):
        await call.stderr.send(encode(f"{name}: -{flags} is more than the mock's shell knows\n"))
        return _SYNTAX
    if "c" in flags and words:
        script, *words = words
        shell = Shell(call, words[0] if words else name, tuple(words[1:]))
        work: Callable[[Streams], Awaitable[int]] = partial(shell.script, script)
    elif words and "s" not in flags:
        try:
            text = (await read_file(call, words[0])).decode("utf-8", "surrogateescape")
        except OSError as exc:
            await call.stderr.send(encode(f"{name}: {words[0]}: {exc.strerror}\n"))
            return 127
        shell = Shell(call, words[0], tuple(words[1:]))
        work = partial(shell.script, text)
    else:
        shell = Shell(call, name, tuple(words))
        work = shell.lines
    shell.strict = "e" in flags
    return await shell.run(lambda: work(shell.streams))
