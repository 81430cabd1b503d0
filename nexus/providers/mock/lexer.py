"""The words and operators of the mock's shell: where they begin and end, what is quoted, where a parameter stands."""

from __future__ import annotations

import re
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
class Token:
    """A word, an operator, or the end."""

    kind: str  # "word", "op" or "end"
    text: str
    word: Word = ()
    descriptor: int = -1


_OPERATORS: Final = ("&&", "||", ">>", ">&", "<<", ";;", "<&", ";", "&", "|", "(", ")", ">", "<", "\n")
_REFUSED: Final = frozenset({"<<", ";;", "<&"})
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SPECIAL: Final = "?$!#@*0123456789"
_DIGITS: Final = re.compile(r"\d(?=[<>])", re.ASCII)


def beyond(what: str) -> ShellSyntaxError:
    """Return the error for a construct that is left out."""
    return ShellSyntaxError(f"{what} is more than the mock's shell knows")


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def tokens(self) -> list[Token]:
        found: list[Token] = []
        while (token := self._next()) is not None:
            found.append(token)
        return [*found, Token("end", "end of script")]

    def _next(self) -> Token | None:
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
                    raise beyond(repr(operator))
                self._at += len(operator)
                return Token("op", operator, descriptor=descriptor)
        start = self._at
        word = self._word()
        return Token("word", self._text[start : self._at], word)

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
            raise beyond("command substitution")
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
            raise beyond("$(")
        if after == "{":
            end = self._text.find("}", self._at)
            name = self._text[self._at + 2 : end] if end > 0 else ""
            if not (_NAME.fullmatch(name) or (len(name) == 1 and name in _SPECIAL)):
                raise beyond(f"${{{name}}}")
            self._at = end + 1
            return Part(name, parameter=True, quoted=quoted)
        match = _NAME.match(self._text, self._at + 1)
        name = match[0] if match else after if after and after in _SPECIAL else ""
        self._at += 1 + len(name)
        return Part(name or "$", parameter=bool(name), quoted=quoted)


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a script, the last of which is its end.

    Raises:
        ShellSyntaxError: At a quote that is not closed, and at what the shell does not know.
    """
    return _Lexer(text).tokens()
