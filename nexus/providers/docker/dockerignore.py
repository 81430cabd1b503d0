"""``.dockerignore``: which files stay out of a build. Pure.

One pattern a line; ``#`` begins a comment; ``!`` takes a file back in; the last pattern that matches decides. ``*`` and ``?``
stop at a slash, ``**`` does not. A pattern that matches a folder covers everything below it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class _Rule:
    keep: bool
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The rules of one file."""

    rules: tuple[_Rule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rules in ``text``. A pattern that cannot be understood matches nothing, as with the engine's own tools."""
        rules: list[_Rule] = []
        for line in text.removeprefix("\ufeff").splitlines():
            if line.startswith("#"):
                continue
            words = line.strip()
            keep = words.startswith("!")
            words = words.removeprefix("!").strip()
            if not words:
                continue
            path = posixpath.normpath(words).lstrip("/")
            if path == ".":
                continue
            try:
                rules.append(_Rule(keep, _compile(path)))
            except re.error:
                continue
        return cls(tuple(rules))

    def ignores(self, path: str) -> bool:
        """Return whether the file or folder at ``path`` (relative, with slashes) stays out."""
        ignored = False
        for rule in self.rules:
            if rule.keep is ignored and rule.pattern.fullmatch(path):
                ignored = not rule.keep
        return ignored

    @property
    def may_take_back(self) -> bool:
        """Whether a file below an ignored folder may be wanted after all, so that such folders have to be looked into."""
        return any(rule.keep for rule in self.rules)


def _compile(path: str) -> re.Pattern[str]:
    parts: list[str] = []
    at = 0
    while at < len(path):
        char = path[at]
        if path.startswith("**", at):
            at += 2
            if path.startswith("/", at):
                at += 1
                parts.append("(?:.*/)?")
            else:
                parts.append(".*")
            continue
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[" and (end := path.find("]", at + 1)) > 0:
            # What means more than itself in a set of ours, or may one day (``[[``, ``&&``, ``--``), means itself in theirs.
            inside = re.sub(r"([\\\[&|~])", r"\\\1", path[at + 1 : end]).replace("--", "\\--")
            parts.append(f"[{inside}]")
            at = end
        elif char == "\\" and at + 1 < len(path):
            at += 1
            parts.append(re.escape(path[at]))
        else:
            parts.append(re.escape(char))
        at += 1
    return re.compile("".join(parts) + "(?:/.*)?", re.DOTALL)
