"""Variables in compose files and ``.env`` files: ``$X``, ``${X:-default}``, ``${X:?message}``, ``$$``. Pure.

The variables are those given, never the process's: what a clone asks for by name must come from a file of the project.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

MAX_DEPTH: Final = 16
MAX_TEXT: Final = 131_072
"""Characters of one value; Linux takes no longer variable."""

_PLAIN: Final = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(:?[-?+])?)", re.ASCII)

_BRACES: Final = re.compile(r"\$\$|\$\{|\}")


class CannotInterpolate(ValueError):
    """A text whose variables cannot be put in; says why, as a clause about the text."""


def interpolate(text: str, variables: Mapping[str, str], missing: Callable[[str], None]) -> str:
    """Return a text with its variables put in.

    Args:
        text: The text.
        variables: What is known.
        missing: Told the name of each variable that is not known and has no default; it counts as empty.

    Raises:
        CannotInterpolate: When the text is malformed or grows too long, or a variable that it requires is not set.
    """
    return _Interpolation(variables, missing).run(text, 0)


def _closing(text: str, start: int) -> int:
    """Return where the brace stands that closes the one opened before ``start``; the end of the text where none does."""
    depth = 1
    for match in _BRACES.finditer(text, start):
        depth += {"${": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return len(text)


class _Interpolation:
    def __init__(self, variables: Mapping[str, str], missing: Callable[[str], None]) -> None:
        self._variables = variables
        self._missing = missing

    def run(self, text: str, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise CannotInterpolate(f"nests variables deeper than {MAX_DEPTH} levels")
        parts: list[str] = []
        length = position = 0
        while position < len(text):
            if text[position] == "$":
                piece, end = self._variable(text, position, depth)
            else:
                found = text.find("$", position)
                end = len(text) if found < 0 else found
                piece = text[position:end]
            length += len(piece)
            if length > MAX_TEXT:
                raise CannotInterpolate(f"comes to more than {MAX_TEXT} characters")
            parts.append(piece)
            position = end
        return "".join(parts)

    def _variable(self, text: str, position: int, depth: int) -> tuple[str, int]:
        match = _PLAIN.match(text, position)
        if match is None:
            raise CannotInterpolate("has a '$' that names no variable; write '$$' for a '$'")
        if match[1]:
            return "$", match.end()
        if match[2]:
            return self._value(match[2]), match.end()
        name, operator, start = match[3], match[4], match.end()
        end = start if operator is None else _closing(text, start)
        if text[end : end + 1] != "}":
            raise CannotInterpolate(f"has '${{{name}' without its '}}'")
        if operator is None:
            return self._value(name), end + 1
        return self._chosen(text[start:end], name, operator, depth), end + 1

    def _chosen(self, word: str, name: str, operator: str, depth: int) -> str:
        value = self._variables.get(name)
        there = value is not None and not (operator.startswith(":") and not value)
        if operator.endswith("+"):
            return self.run(word, depth + 1) if there else ""
        if there and value is not None:
            return value
        if operator.endswith("?"):
            raise CannotInterpolate(f"needs the variable {name}, which is not set: {word or 'it is required'}")
        return self.run(word, depth + 1)

    def _value(self, name: str) -> str:
        value = self._variables.get(name)
        if value is None:
            self._missing(name)
            return ""
        return value
