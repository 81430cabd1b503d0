"""Patterns of paths: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any number of folders. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from nexus.errors import InvalidArgument

_ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class GlobPattern:
    """A pattern, and how far a path matches it.

    Names that begin with a dot are like all others. ``**`` stands for no folder, one, or many; at the end of a pattern it stands
    for everything below.
    """

    segments: tuple[re.Pattern[str] | None, ...]
    """One for each name; ``None`` for ``**``."""
    prefix: tuple[str, ...]
    """The folders that every match lies in: the leading names without any wildcard."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern that a text means.

        Raises:
            InvalidArgument: When it is empty, absolute, or goes up.
        """
        if text.startswith("/"):
            raise InvalidArgument(f"pattern {text!r} is absolute", hint="write it relative to the workspace's root")
        names = [name for name in text.split("/") if name not in {"", "."}]
        if not names:
            raise InvalidArgument("a pattern cannot be empty", hint="'*' matches every name of the root")
        if ".." in names:
            raise InvalidArgument(f"pattern {text!r} goes up", hint="write it relative to the workspace's root")
        literal: list[str] = []
        while len(names) > 1 and not any(mark in names[0] for mark in "*?["):
            literal.append(names.pop(0))
        return cls(
            segments=tuple(None if n == _ANY_DEPTH else re.compile(fnmatch.translate(n)) for n in names),
            prefix=tuple(literal),
        )

    def matches(self, names: Sequence[str]) -> bool:
        """Return whether a path below ``prefix`` matches."""
        return len(self.segments) in self._reached(names)

    def may_match_below(self, names: Sequence[str]) -> bool:
        """Return whether anything in this folder below ``prefix`` can match."""
        return any(at < len(self.segments) for at in self._reached(names))

    def _reached(self, names: Sequence[str]) -> set[int]:
        """Return the segments that may come next after these names, all ways of reading ``**`` taken at once."""
        reached = self._over_any_depth({0})
        for name in names:
            following: set[int] = set()
            for at in reached:
                if at == len(self.segments):
                    continue
                segment = self.segments[at]
                if segment is None:
                    following.add(at)
                elif segment.match(name):
                    following.add(at + 1)
            reached = self._over_any_depth(following)
        return reached

    def _over_any_depth(self, places: set[int]) -> set[int]:
        reached: set[int] = set()
        for place in places:
            at = place
            reached.add(at)
            while at < len(self.segments) and self.segments[at] is None:
                at += 1
                reached.add(at)
        return reached


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What a transfer leaves out. A pattern without ``/`` means the name at any depth, one with ``/`` the path from the top."""

    names: tuple[GlobPattern, ...]
    paths: tuple[GlobPattern, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Return what these patterns leave out.

        Raises:
            InvalidArgument: As :meth:`GlobPattern.parse`.
        """
        if isinstance(texts, str):
            raise InvalidArgument("exclude takes a list of patterns, not one text", hint=f"write [{texts!r}]")
        names = tuple(GlobPattern.parse(text) for text in texts if "/" not in text)
        paths = tuple(GlobPattern.parse(text) for text in texts if "/" in text)
        return cls(names=names, paths=paths)

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, tuple) or not path:
            return False
        if any(pattern.matches(path[-1:]) for pattern in self.names):
            return True
        return any(
            path[: len(pattern.prefix)] == pattern.prefix and pattern.matches(path[len(pattern.prefix) :])
            for pattern in self.paths
        )
