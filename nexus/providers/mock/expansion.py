"""How the mock's shell makes fields of words: parameters put in, unquoted ones split at blanks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nexus.providers.mock.lexer import Part, Word


def text_of(word: Word, lookup: Callable[[str], str]) -> str:
    """Return a word as one text, nothing split: the value of an assignment, the target of a redirection."""
    return "".join(lookup(part.text) if part.parameter else part.text for part in word)


def fields_of(word: Word, lookup: Callable[[str], str], arguments: Sequence[str]) -> list[str]:
    """Return the fields that a word becomes: usually one, none for an empty unquoted parameter, several for ``"$@"``."""
    fields: list[str] = []
    current: str | None = None
    for part in word:
        for text, begins, ends in _pieces(part, lookup, arguments):
            if begins and current is not None:
                fields.append(current)
                current = None
            if text is not None:
                current = (current or "") + text
            if ends and current is not None:
                fields.append(current)
                current = None
    return fields if current is None else [*fields, current]


def _pieces(part: Part, lookup: Callable[[str], str], arguments: Sequence[str]) -> list[tuple[str | None, bool, bool]]:
    """Return pieces of text, each with whether it begins a new field and whether it ends its field."""
    if not part.parameter:
        return [(part.text, False, False)]
    if part.text == "@":
        if part.quoted:
            return [(argument, index > 0, False) for index, argument in enumerate(arguments)]
        return [piece for argument in arguments for piece in _split(f" {argument} ")]
    value = lookup(part.text)
    return [(value, False, False)] if part.quoted else _split(value)


def _split(value: str) -> list[tuple[str | None, bool, bool]]:
    words = value.split()
    if not words:
        return [(None, bool(value), False)]
    last = len(words) - 1
    return [
        (word, index > 0 or value[0].isspace(), index == last and value[-1].isspace())
        for index, word in enumerate(words)
    ]
