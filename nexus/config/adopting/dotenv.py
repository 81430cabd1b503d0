"""``.env`` files: lines ``NAME=value``, with quotes, comments, and variables of earlier lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from nexus.config.adopting.interpolation import CannotInterpolate, interpolate
from nexus.config.bounds import MAX_NODES, MAX_TEXT, UNUSABLE
from nexus.config.layers import Leaf, Place
from nexus.config.problems import Problems, quoted

_LINE: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:([=:])[ \t]*(.*))?", re.ASCII)
_QUOTED: Final = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""")
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}


def read_dotenv(text: str, source: str, known: Mapping[str, str], problems: Problems) -> dict[str, Leaf]:
    """Return the variables of a file, each with its place. A name without a value is left out: nothing is read from this host.

    Args:
        text: The file.
        source: What places call it.
        known: Variables that its values may use besides those of earlier lines.
        problems: Gets lines that cannot be read.
    """
    found: dict[str, Leaf] = {}
    variables = dict(known)
    length = 0
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        place = Place(source, number, len(line) - len(line.lstrip()) + 1)
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            problems.add(place, "a line 'NAME=value' is due here")
            continue
        if match[2] is None:
            continue
        try:
            value = _value(match[3], variables)
        except CannotInterpolate as error:
            problems.add(place, f"{quoted(match[1])} {error}")
            continue
        length += len(value)
        if length > MAX_TEXT or len(found) >= MAX_NODES:
            problems.add(place, "more variables than are read from one file")
            break
        if UNUSABLE.search(value):
            problems.add(place, "a NUL character cannot be used")
            continue
        variables[match[1]] = value
        found[match[1]] = Leaf(value, Place(source, number, match.start(3) + 1), text=value)
    return found


def _value(written: str, variables: Mapping[str, str]) -> str:
    if written[:1] in {"'", '"'}:
        match = _QUOTED.match(written)
        if match is None:
            raise CannotInterpolate("has a quote without its end in the same line")
        rest = written[match.end() :]
        if rest.strip() and not rest.strip().startswith("#"):
            raise CannotInterpolate("has something after its closing quote")
        if match[1] is not None:
            return match[1]
        unescaped = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), match[2])
        return interpolate(unescaped, variables, _empty)
    return interpolate(_COMMENT.sub("", written).strip(), variables, _empty)


def _empty(_: str) -> None:
    """A variable that is not known counts as empty, as it does for a shell."""
