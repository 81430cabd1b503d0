"""What to look for in lines: a regular expression or a plain text, by an engine that no pattern and no content can keep busy.

Patterns and contents come from anybody. RE2 takes time in proportion to the content, whatever the pattern, and bounded memory; it lets
go of the interpreter while it works. Its syntax has no look-around and no back-references.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, Protocol, Self, cast

from nexus.errors import InvalidArgument, Unsupported

Case = Literal["sensitive", "insensitive", "smart"]

MAX_PATTERN: Final = 4096
"""Bytes of a pattern."""
_MAX_MEMORY: Final = 1 << 20
"""Bytes that a compiled pattern may take: what keeps the factor of proportion small."""


class _Match(Protocol):
    def span(self) -> tuple[int, int]: ...


class _Pattern(Protocol):
    def search(self, text: bytes, pos: int = 0) -> _Match | None: ...


class Line(NamedTuple):
    """A line that matches."""

    number: int
    """Lines before it in the piece."""
    text: bytes
    """Without its end."""
    start: int
    """Where the first match begins."""
    end: int


class Needle:
    """A pattern that is ready to be looked for. Use one in one thread at a time."""

    def __init__(self, pattern: _Pattern) -> None:
        self._pattern = pattern

    @classmethod
    def parse(cls, text: str, *, regex: bool, case: Case) -> Self:
        """Return what a text means.

        Args:
            text: The pattern.
            regex: Whether it is a regular expression (RE2's syntax) or to be taken word for word.
            case: ``smart``: insensitive unless the text holds a capital letter.

        Raises:
            InvalidArgument: When it is empty, no regular expression, too long or too large.
            Unsupported: When the engine is not installed.
        """
        encoded = _encoded(text)
        engine = _engine()
        options = engine.Options()
        options.log_errors = False
        options.never_nl = True  # nothing matches across the end of a line
        options.max_mem = _MAX_MEMORY
        options.case_sensitive = case == "sensitive" or (case == "smart" and text != text.lower())
        source = b"(?m)" + encoded if regex else engine.escape(encoded)
        try:
            return cls(cast("_Pattern", engine.compile(source, options)))
        except engine.error as error:
            why = error.args[0] if error.args else "it cannot be compiled"
            raise InvalidArgument(
                f"{text[:80]!r} cannot be looked for: {why.decode('utf-8', 'replace') if isinstance(why, bytes) else why}",
                hint="patterns are RE2's, without look-around and back-references; regex=False takes a text word for word",
            ) from error

    def lines(self, piece: bytes) -> Iterator[Line]:
        """Give the lines of a text in which it is found, each once."""
        at = number = counted = 0
        while at < len(piece):
            match = self._pattern.search(piece, at)
            if match is None:
                return
            start, end = match.span()
            begin = piece.rfind(b"\n", 0, start) + 1
            finish = piece.find(b"\n", end)
            finish = len(piece) if finish < 0 else finish
            if begin == len(piece) and begin > 0:
                return  # an empty match after the last line's end is in no line
            number += piece.count(b"\n", counted, begin)
            counted = begin
            yield Line(number, piece[begin:finish], start - begin, end - begin)
            at = finish + 1


def _encoded(text: str) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument("a pattern has to be text that can be written as UTF-8") from error
    if not encoded or len(encoded) > MAX_PATTERN:
        raise InvalidArgument(f"a pattern has 1 to {MAX_PATTERN} bytes, not {len(encoded)}")
    if b"\n" in encoded or b"\0" in encoded:
        raise InvalidArgument("a pattern is looked for within lines, so it holds no line end and no NUL character")
    return encoded


def _engine() -> _Engine:
    try:
        return cast("_Engine", importlib.import_module("re2"))
    except ImportError as error:
        raise Unsupported(
            "searching files needs the RE2 engine, which is not installed",
            hint="pip install 'nexus-workspace[search]'",
            details={"capability": "search", "provider": None},
        ) from error


class _Options(Protocol):
    log_errors: bool
    never_nl: bool
    max_mem: int
    case_sensitive: bool


class _Engine(Protocol):
    """The part of ``re2`` that is used; the package has no types of its own."""

    error: type[Exception]
    Options: type[_Options]

    def compile(self, pattern: bytes, options: _Options) -> object: ...

    def escape(self, pattern: bytes) -> bytes: ...
