r"""The grammar of the mock's shell: a text becomes a tree, or an honest error. No effects here.

Known: ``;``, newline, ``&``, ``&&``, ``||``, ``!``, ``|``, ``( )``, ``{ }``, ``if``, ``while``, ``until``, comments, quotes
(``'…'``, ``"…"``, ``\``), ``$NAME ${NAME} $? $$ $! $# $0…$9 $@ $*``, assignments, and the redirections ``> >> < 2> 2>> N>&M``.

Not known, and refused with a sentence that says so: command substitution, arithmetic, here-documents, functions, ``for``,
``case``, patterns (``*`` stands for itself), and everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from nexus.providers.mock.lexer import ShellSyntaxError, Token, Word, beyond, tokenize


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a descriptor goes: to a file (``>``, ``>>``, ``<``) or to what another one is (``>&``)."""

    descriptor: int
    operator: str
    target: Word


@dataclass(frozen=True, slots=True)
class Simple:
    """A command with its words."""

    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """A list in braces, or in parentheses (``subshell``)."""

    body: Script
    subshell: bool
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with their lists, and the list of ``else``."""

    branches: tuple[tuple[Script, Script], ...]
    otherwise: Script | None


@dataclass(frozen=True, slots=True)
class Loop:
    """``while``, or ``until`` when ``stop_on`` is true."""

    condition: Script
    body: Script
    stop_on: bool


Command: TypeAlias = "Simple | Compound | If | Loop"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by ``|``."""

    commands: tuple[Command, ...]
    negate: bool


@dataclass(frozen=True, slots=True)
class Item:
    """Pipelines joined by ``&&`` and ``||``, perhaps in the background."""

    first: Pipeline
    rest: tuple[tuple[str, Pipeline], ...]
    background: bool


Script: TypeAlias = tuple[Item, ...]


_RESERVED: Final = frozenset({"for", "case", "function", "select", "[["})
_CLOSING: Final = frozenset({"then", "elif", "else", "fi", "do", "done", "}"})
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _is(self, text: str, kind: str = "op") -> bool:
        return self._token.kind == kind and self._token.text == text

    def _accept(self, text: str, kind: str = "op") -> bool:
        if self._is(text, kind):
            self._at += 1
            return True
        return False

    def _expect(self, text: str, kind: str = "op") -> None:
        if not self._accept(text, kind):
            raise ShellSyntaxError(f"expected {text!r} before {self._token.text!r}")

    def script(self) -> Script:
        found = self.sequence(lambda: self._token.kind == "end")
        if self._token.kind != "end":
            raise ShellSyntaxError(f"{self._token.text!r} is unexpected")
        return found

    def sequence(self, over: Callable[[], bool]) -> Script:
        items: list[Item] = []
        while True:
            while self._accept("\n"):
                pass
            if over() or (self._token.kind == "word" and self._token.text in _CLOSING):
                return tuple(items)
            first, rest = self._pipeline(), []
            while self._token.kind == "op" and self._token.text in {"&&", "||"}:
                operator = self._token.text
                self._at += 1
                while self._accept("\n"):
                    pass
                rest.append((operator, self._pipeline()))
            background = self._accept("&")
            items.append(Item(first, tuple(rest), background))
            if not background and not self._accept(";") and not self._is("\n"):
                return tuple(items)

    def _pipeline(self) -> Pipeline:
        negate = self._accept("!", "word")
        commands = [self._command()]
        while self._accept("|"):
            commands.append(self._command())
        return Pipeline(tuple(commands), negate)

    def _command(self) -> Command:
        if self._accept("("):
            body = self.sequence(lambda: self._is(")"))
            self._expect(")")
            return Compound(self._some(body), subshell=True, redirects=self._redirects())
        if self._token.kind != "word":
            raise ShellSyntaxError(f"{self._token.text!r} is unexpected")
        match self._token.text:
            case "{":
                self._at += 1
                body = self._closed("}")
                return Compound(body, subshell=False, redirects=self._redirects())
            case "if":
                return self._if()
            case "while" | "until" as keyword:
                self._at += 1
                condition = self._closed("do")
                return Loop(condition, self._closed("done"), stop_on=keyword == "until")
            case word if word in _RESERVED:
                raise beyond(repr(word))
            case _:
                return self._simple()

    def _closed(self, word: str) -> Script:
        body = self.sequence(lambda: self._is(word, "word"))
        self._expect(word, "word")
        return self._some(body)

    def _some(self, body: Script) -> Script:
        if not body:
            raise ShellSyntaxError(f"a command is missing before {self._tokens[self._at - 1].text!r}")
        return body

    def _if(self) -> If:
        branches: list[tuple[Script, Script]] = []
        while self._accept("if", "word") if not branches else self._accept("elif", "word"):
            condition = self._closed("then")
            branches.append((condition, self._some(self.sequence(lambda: False))))
        otherwise = self._some(self.sequence(lambda: False)) if self._accept("else", "word") else None
        self._expect("fi", "word")
        return If(tuple(branches), otherwise)

    def _simple(self) -> Simple:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while True:
            redirects.extend(self._redirects())
            if self._token.kind != "word":
                break
            token = self._token
            self._at += 1
            match = _ASSIGNMENT.match(token.text) if not words else None
            if match:
                # Every plain character is a part of its own, so the name and "=" are as many parts as characters.
                assignments.append((match[1], token.word[len(match[0]) :]))
            else:
                words.append(token.word)
        if self._is("("):
            raise beyond("a function")
        return Simple(tuple(assignments), tuple(words), tuple(redirects))

    def _redirects(self) -> tuple[Redirect, ...]:
        found: list[Redirect] = []
        while self._token.kind == "op" and self._token.text in {">", ">>", "<", ">&"}:
            token = self._token
            self._at += 1
            if self._token.kind != "word":
                raise ShellSyntaxError(f"{token.text!r} needs a target")
            default = 0 if token.text == "<" else 1
            found.append(Redirect(token.descriptor if token.descriptor >= 0 else default, token.text, self._token.word))
            self._at += 1
        return tuple(found)


def parse(text: str) -> Script:
    """Return the tree of a script.

    Raises:
        ShellSyntaxError: When it is no script, or needs what the mock's shell does not know; the message says which.
    """
    return _Parser(tokenize(text)).script()
