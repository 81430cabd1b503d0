"""Git's file patterns (``wildmatch``, as in ``.gitignore`` and ``.gitattributes``) as regular expressions that never run away.

Such patterns come from whoever works in a tree. Translated naively, ``*a*a*a*a*b`` keeps a regular expression busy for hours,
and Python cannot interrupt one. But a ``*`` may as well take as little as it can, for all that follows it is another ``*`` or the
end; so every part before the last ``*`` is an atomic group, and the time is bounded by the lengths of pattern and path.
"""

from __future__ import annotations

import re
from typing import Final

from dulwich.wildmatch import MalformedPattern, translate_bracket_expression

__all__ = ["MalformedPattern", "compile_pattern"]

_FOLDERS: Final = rb"(?:[^/]+/)*"


def compile_pattern(pattern: bytes, *, base: bytes = b"", ignore_case: bool = False) -> re.Pattern[bytes]:
    """Return the expression whose ``fullmatch`` says whether a path matches.

    Args:
        pattern: One pattern, without ``!`` and without a slash at the end.
        base: The folder of the file that it stands in; paths are matched with it.
        ignore_case: Whether case counts.

    Raises:
        MalformedPattern: When git would not let it match anything, such as for an open bracket.
    """
    anywhere = b"/" not in pattern
    body = _path(_segments(pattern.removeprefix(b"/")))
    prefix = re.escape(base + b"/") if base else b""
    return re.compile(
        prefix + (_FOLDERS if anywhere else b"") + body, re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    )


def _segments(pattern: bytes) -> list[bytes]:
    """Split at slashes, though not at one within a bracket expression or behind a backslash."""
    found: list[bytes] = []
    start = at = 0
    while at < len(pattern):
        letter = pattern[at : at + 1]
        if letter == b"\\":
            at += 2
        elif letter == b"[":
            at, _ = translate_bracket_expression(pattern, at + 1)
        else:
            if letter == b"/":
                found.append(pattern[start:at])
                start = at + 1
            at += 1
    found.append(pattern[start:])
    return found


def _path(segments: list[bytes]) -> bytes:
    """Translate whole paths: ``**`` between slashes is any number of folders."""
    groups: list[list[bytes]] = [[]]
    spanning = [len(segment) > 1 and not segment.strip(b"*") for segment in segments]
    for number, segment in enumerate(segments):
        if not spanning[number]:
            groups[-1].append(_segment(segment))
        elif number == 0 or not spanning[number - 1]:
            groups.append([])
    first, *middle = groups
    if not middle:
        return b"/".join(first)
    *middle, last = middle
    parts = [b"/".join(first) + b"/"] if first else []
    parts.extend(b"(?>(?:[^/]+/)*?%s/)" % b"/".join(group) for group in middle)
    parts.append(_FOLDERS + b"/".join(last) if last else b".+")
    return b"".join(parts)


def _segment(segment: bytes) -> bytes:
    """Translate what stands between two slashes."""
    chunks = _chunks(segment)
    if len(chunks) == 1:
        return chunks[0]
    if not any(chunks):
        return b"[^/]+"
    first, *middle, last = chunks
    return first + b"".join(b"(?>[^/]*?%s)" % chunk for chunk in middle) + b"[^/]*" + last


def _chunks(segment: bytes) -> list[bytes]:
    """Translate the parts between runs of ``*``; each matches a fixed number of bytes."""
    chunks = [b""]
    at = 0
    while at < len(segment):
        letter = segment[at : at + 1]
        at += 1
        if letter == b"*":
            if at < 2 or segment[at - 2 : at - 1] != b"*" or chunks[-1]:
                chunks.append(b"")
        elif letter == b"?":
            chunks[-1] += b"[^/]"
        elif letter == b"[":
            at, bracket = translate_bracket_expression(segment, at)
            chunks[-1] += bracket
        else:
            if letter == b"\\" and at < len(segment):
                letter = segment[at : at + 1]
                at += 1
            chunks[-1] += re.escape(letter)
    return chunks
