"""Problems are collected, not raised one at a time: whoever corrects a file wants to see all of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

from nexus.config.layers import Place, printable
from nexus.errors import ConfigError

MOST = 100
"""Problems that are told one by one."""
_LONGEST_NAME = 60
_TOLD: Final = re.compile(
    r"(?:(?P<file>.*?):(?P<line>\d+):(?P<column>\d+)|(?P<words>[^:]*)): (?P<sentence>.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth knowing, and where. As text: ``file:line:column: sentence``."""

    place: Place
    """Where it stands."""
    sentence: str
    """What it is."""
    hint: str | None = None
    """The next step, when there is one."""
    severity: Literal["error", "warning"] = "error"
    """An error keeps the configuration from being used."""

    @classmethod
    def warning(cls, line: str) -> Self:
        """Return a line of ``ConfigStack.warnings`` as a value."""
        told = _TOLD.fullmatch(line)
        if told is None:
            return cls(Place("configuration"), line, severity="warning")
        if told["file"] is None:
            return cls(Place(told["words"]), told["sentence"], severity="warning")
        place = Place(told["file"], int(told["line"]), int(told["column"]))
        return cls(place, told["sentence"], severity="warning")

    def __str__(self) -> str:
        return f"{self.place}: {self.sentence}"


class Problems:
    """The problems found so far."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self._untold = 0

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def add(self, place: Place, sentence: str, *, hint: str | None = None) -> None:
        """Remember one problem; the same one twice counts once."""
        problem = Problem(place, sentence, hint)
        if problem not in self._found[-MOST:]:
            self._found.append(problem)

    def include(self, problems: Iterable[Problem]) -> None:
        """Remember problems that were found elsewhere; those that are known already count once."""
        known = set(self._found)
        for problem in problems:
            if problem not in known:
                known.add(problem)
                self._found.append(problem)

    def leave_out(self, number: int) -> None:
        """Count problems that are not worth working out: there are more than anybody reads."""
        self._untold += number

    def ordered(self) -> list[Problem]:
        """Return the problems, file by file in the order read, each file from top to bottom."""
        rank = {source: index for index, source in enumerate(dict.fromkeys(item.place.source for item in self._found))}
        return sorted(
            self._found, key=lambda item: (rank[item.place.source], item.place.line or 0, item.place.column or 0)
        )

    def lines(self) -> tuple[str, ...]:
        """Return one line for each problem, a bounded number of them."""
        lines = [str(problem) for problem in self.ordered()]
        left = len(lines[MOST:]) + self._untold
        return (*lines[:MOST], f"and {left} more problems") if left else tuple(lines)

    def raise_any(self) -> None:
        """Raise what was found; nothing when nothing was.

        Raises:
            ConfigError: With every problem.
        """
        if self._found:
            first = self.ordered()[0]
            raise ConfigError(str(first), problems=self.lines(), hint=first.hint)


def by_file(problems: Iterable[Problem], files: Sequence[str]) -> list[Problem]:
    """Return errors before warnings, each file from top to bottom, the files in this order before whatever else there is."""
    ranks = {path: rank for rank, path in enumerate(files)}

    def where(problem: Problem) -> tuple[bool, int, int, int]:
        place = problem.place
        return problem.severity != "error", ranks.get(place.source, len(ranks)), place.line or 0, place.column or 0

    return sorted(problems, key=where)


def quoted(name: str) -> str:
    """Return a name from a file, in quotes, short, and harmless to a terminal."""
    short = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
    return f"'{printable(short)}'"


def perhaps(name: str, known: Iterable[str]) -> str:
    """Return ``; perhaps you meant 'x'`` when one of the known names is close, whatever its case; else an empty text."""
    if len(name) > _LONGEST_NAME:  # there similarity means nothing and costs much
        return ""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; perhaps you meant '{by_lower[close[0]]}'" if close else ""
