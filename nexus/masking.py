"""Masking known pieces of data in a stream. Pure, and the standard library alone: the local backend's keeper loads it too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import AnyStr, Final

MASK: Final = "***"
"""What stands in place of each masked run."""
_MASK_BYTES: Final = MASK.encode("ascii")


def masked_runs(data: AnyStr, patterns: Iterable[AnyStr]) -> list[tuple[int, int]]:
    """Return what the patterns cover of ``data``, as runs ``(start, end)`` in order; occurrences that overlap are one run.

    Args:
        data: Where to look.
        patterns: What to look for; none of them empty.
    """
    spans: list[tuple[int, int]] = []
    for pattern in patterns:
        at = data.find(pattern)
        while at >= 0:
            spans.append((at, at + len(pattern)))
            at = data.find(pattern, at + 1)
    spans.sort()
    runs: list[tuple[int, int]] = []
    for start, end in spans:
        if runs and start < runs[-1][1]:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((start, end))
    return runs


def mask_text(text: str, patterns: Iterable[str]) -> str:
    """Return ``text`` with every run that the patterns cover replaced by :data:`MASK`."""
    pieces: list[str] = []
    done = 0
    for start, end in masked_runs(text, patterns):
        pieces += [text[done:start], MASK]
        done = end
    return "".join((*pieces, text[done:])) if pieces else text


class Masker:
    """Masks patterns in a stream of bytes, also those that are split across pieces.

    How the stream is cut changes nothing of the result. What could be the beginning of a pattern is held back until more
    comes, and nothing else is: a prompt without a line end is shown at once.

    Args:
        patterns: What to mask; empty ones are left out.
    """

    __slots__ = ("_covered", "_held", "_patterns")

    def __init__(self, patterns: Iterable[bytes]) -> None:
        self._patterns = tuple(dict.fromkeys(pattern for pattern in patterns if pattern))
        self._held = b""
        self._covered = 0
        """How many of the held bytes belong to a run whose mask was given already."""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece and return what is certain by now."""
        if not self._patterns:
            return data
        self._held += data
        return self._give(len(self._held) - self._undecided())

    def finish(self) -> bytes:
        """Return the rest: the stream has ended. Another one may begin."""
        return self._give(len(self._held))

    def _give(self, until: int) -> bytes:
        """Give the held bytes up to ``until``. A run that reaches beyond is masked now, and its rest remembered."""
        pieces: list[bytes] = []
        done = min(self._covered, until)
        covered = self._covered
        for start, end in masked_runs(self._held, self._patterns):
            if start >= until:
                break
            if start < covered:  # it goes on from a run whose mask was given
                covered = max(covered, end)
            else:
                pieces += [self._held[done:start], _MASK_BYTES]
                covered = end
            done = min(covered, until)
        pieces.append(self._held[done:until])
        self._held = self._held[until:]
        self._covered = max(0, covered - until)
        return b"".join(pieces)

    def _undecided(self) -> int:
        """Return the length of the longest end of the held bytes that a pattern begins with and is longer than."""
        longest = 0
        for pattern in self._patterns:
            tail = self._held[-(len(pattern) - 1) :] if len(pattern) > 1 else b""
            at = tail.find(pattern[:1])
            while at >= 0 and len(tail) - at > longest:
                if pattern.startswith(tail[at:]):
                    longest = len(tail) - at
                    break
                at = tail.find(pattern[:1], at + 1)
        return longest
