"""The grammar of the mock's shell: a text becomes a tree, or an honest error. No effects here.

Known: ``;``, newline, ``&``, ``&&``, ``||``, ``!``, ``|``, ``( )``, ``{ }``, ``if``, ``while``, ``until``, comments, quotes
(``'…'``, ``"…"``, ``\\``), ``$NAME ${NAME} $? $$ $! $# $0…$9 $@ $*``, assignments, and the redirections ``> >> < 2> 2>> N>&M``.

Not known, and refused with a sentence that says so: command substitution, arithmetic, here-documents, functions, ``for``,
``case``, patterns (``*`` stands for itself), and everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias


class ShellSyntaxError(ValueError):
    """A text that is no script, or needs more than the mock's shell knows."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a word: literal text or the name of a parameter."""

    text: str
    parameter: bool
    quoted: bool


Word: TypeAlias = tuple[Part, ...]


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

    body: Sequence_
    subshell: bool
    redirects: tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with their lists, and the list of ``else``."""

    branches: tuple[tuple[Sequence_, Sequence_], ...]
    otherwise: Sequence_ | None


@dataclass(frozen=True, slots=True)
class Loop:
    """``while``, or ``until`` when ``stop_on`` is true."""

    condition: Sequence_
    body: Sequence_
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


Sequence_: TypeAlias = tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "word", "op" or "end"
    text: str
    word: Word = ()
    descriptor: int = -1


_OPERATORS: Final = ("&&", "||", ">>", ">&", "<<", ";;", "<&", ";", "&", "|", "(", ")", ">", "<", "\n")
_REFUSED: Final = frozenset({"<<", ";;", "<&"})
_RESERVED: Final = frozenset({"for", "case", "function", "select", "[["})
_CLOSING: Final = frozenset({"then", "elif", "else", "fi", "do", "done", "}"})
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)
_SPECIAL: Final = "?$!#@*0123456789"
_DIGITS: Final = re.compile(r"\d(?=[<>])", re.ASCII)


def _beyond(what: str) -> ShellSyntaxError:
    return ShellSyntaxError(f"{what} is more than the mock's shell knows")


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def tokens(self) -> list[_Token]:
        found: list[_Token] = []
        while (token := self._next()) is not None:
            found.append(token)
        return [*found, _Token("end", "end of script")]

    def _next(self) -> _Token | None:
        self._skip()
        if self._at >= len(self._text):
            return None
        descriptor = -1
        if match := _DIGITS.match(self._text, self._at):
            descriptor = int(match[0])
            self._at += 1
        for operator in _OPERATORS:
            if self._text.startswith(operator, self._at):
                if operator in _REFUSED:
                    raise _beyond(repr(operator))
                self._at += len(operator)
                return _Token("op", operator, descriptor=descriptor)
        start = self._at
        word = self._word()
        return _Token("word", self._text[start : self._at], word)

    def _skip(self) -> None:
        while self._at < len(self._text):
            if self._text[self._at] in " \t":
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
            elif self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return

    def _word(self) -> Word:
        parts: list[Part] = []
        while self._at < len(self._text) and self._text[self._at] not in " \t\n;&|<>()":
            character = self._text[self._at]
            if character == "'":
                parts.append(Part(self._until("'"), parameter=False, quoted=True))
            elif character == '"':
                parts.extend(self._double())
            elif character == "\\":
                parts.append(Part(self._text[self._at + 1 : self._at + 2], parameter=False, quoted=True))
                self._at += 2
            else:
                parts.append(self._plain(character, quoted=False))
        return tuple(parts)

    def _plain(self, character: str, *, quoted: bool) -> Part:
        if character == "`":
            raise _beyond("command substitution")
        if character == "$":
            return self._parameter(quoted=quoted)
        self._at += 1
        return Part(character, parameter=False, quoted=quoted)

    def _until(self, quote: str) -> str:
        end = self._text.find(quote, self._at + 1)
        if end < 0:
            raise ShellSyntaxError(f"unterminated {quote} quote")
        text = self._text[self._at + 1 : end]
        self._at = end + 1
        return text

    def _double(self) -> list[Part]:
        parts = [Part("", parameter=False, quoted=True)]
        self._at += 1
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._at += 1
                return parts
            if character == "\\" and self._text[self._at + 1 : self._at + 2] in {"$", "`", '"', "\\"}:
                parts.append(Part(self._text[self._at + 1], parameter=False, quoted=True))
                self._at += 2
            else:
                parts.append(self._plain(character, quoted=True))
        raise ShellSyntaxError('unterminated " quote')

    def _parameter(self, *, quoted: bool) -> Part:
        after = self._text[self._at + 1 : self._at + 2]
        if after == "(":
            raise _beyond("$(")
        if after == "{":
            end = self._text.find("}", self._at)
            name = self._text[self._at + 2 : end] if end > 0 else ""
            if not (_NAME.fullmatch(name) or (len(name) == 1 and name in _SPECIAL)):
                raise _beyond(f"${{{name}}}")
            self._at = end + 1
            return Part(name, parameter=True, quoted=quoted)
        match = _NAME.match(self._text, self._at + 1)
        name = match[0] if match else after if after and after in _SPECIAL else ""
        self._at += 1 + len(name)
        return Part(name or "$", parameter=bool(name), quoted=quoted)


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def _token(self) -> _Token:
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

    def script(self) -> Sequence_:
        found = self.sequence(lambda: self._token.kind == "end")
        if self._token.kind != "end":
            raise ShellSyntaxError(f"{self._token.text!r} is unexpected")
        return found

    def sequence(self, over: Callable[[], bool]) -> Sequence_:
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
                raise _beyond(repr(word))
        return self._simple()

    def _closed(self, word: str) -> Sequence_:
        body = self.sequence(lambda: self._is(word, "word"))
        self._expect(word, "word")
        return self._some(body)

    def _some(self, body: Sequence_) -> Sequence_:
        if not body:
            raise ShellSyntaxError(f"a command is missing before {self._tokens[self._at - 1].text!r}")
        return body

    def _if(self) -> If:
        branches: list[tuple[Sequence_, Sequence_]] = []
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
            raise _beyond("a function")
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


def parse(text: str) -> Sequence_:
    """Return the tree of a script.

    Raises:
        ShellSyntaxError: When it is no script, or needs what the mock's shell does not know; the message says which.
    """
    return _Parser(_Lexer(text).tokens()).script()
