"""What differs between two texts, line by line, as ``git diff`` writes it. Pure, and bounded for any text that anybody may write.

The shortest way from one text to the other is looked for (Myers), for so many steps. Where that is not enough, lines that are in both
exactly once are what the rest is lined up by (patience); what cannot be lined up is told as replaced. So a patch always leads from the
one text to the other, and never takes long.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_STEPS: Final = 3_000_000
"""Comparisons for one pair of texts."""
_STEPS_AT_ONCE: Final = 1_000_000
"""Comparisons for one part of it."""
_FARTHEST: Final = 1000
"""Lines that the shortest way may change: what is remembered of it grows with the square."""
_DEEPEST: Final = 64


class Change(NamedTuple):
    """Lines ``old_start`` to ``old_end`` became lines ``new_start`` to ``new_end``; counted from zero, ends excluded."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


class Hunks(NamedTuple):
    """The body of a patch."""

    text: bytes
    added: int
    removed: int


def unified(old: bytes, new: bytes, *, context: int) -> Hunks:
    """Return the hunks that lead from ``old`` to ``new``.

    Args:
        old: The text as it was.
        new: The text as it is.
        context: Lines around each change.
    """
    before, after = _lines(old), _lines(new)
    found = changes(before, after)
    text = b"".join(_hunk(before, after, group, context) for group in _groups(found, context))
    return Hunks(text, sum(c.new_end - c.new_start for c in found), sum(c.old_end - c.old_start for c in found))


def changes(old: Sequence[bytes], new: Sequence[bytes]) -> list[Change]:
    """Return the changes that lead from the one list of lines to the other, in order."""
    found: list[Change] = []
    for part in _between(old, new, Change(0, len(old), 0, len(new)), _Budget(_STEPS), 0):
        last = found[-1] if found else None
        if last is not None and (last.old_end, last.new_end) == (part.old_start, part.new_start):
            found[-1] = Change(last.old_start, part.old_end, last.new_start, part.new_end)
        else:
            found.append(part)
    return found


class _Budget:
    """Steps that are left.

    Args:
        left: How many.
    """

    def __init__(self, left: int) -> None:
        self.left = left


def _between(old: Sequence[bytes], new: Sequence[bytes], part: Change, budget: _Budget, depth: int) -> Iterator[Change]:
    part = _trimmed(old, new, part)
    if part.old_start == part.old_end or part.new_start == part.new_end:
        if part.old_start != part.old_end or part.new_start != part.new_end:
            yield part
        return
    shortest = _shortest(old, new, part, budget)
    if shortest is not None:
        yield from _gaps(part, shortest)
        return
    anchors = _anchors(old, new, part) if depth < _DEEPEST else []
    if not anchors:
        yield part
        return
    at_old, at_new = part.old_start, part.new_start
    for in_old, in_new in [*anchors, (part.old_end, part.new_end)]:
        yield from _between(old, new, Change(at_old, in_old, at_new, in_new), budget, depth + 1)
        at_old, at_new = in_old + 1, in_new + 1


def _trimmed(old: Sequence[bytes], new: Sequence[bytes], part: Change) -> Change:
    old_start, old_end, new_start, new_end = part
    while old_start < old_end and new_start < new_end and old[old_start] == new[new_start]:
        old_start, new_start = old_start + 1, new_start + 1
    while old_start < old_end and new_start < new_end and old[old_end - 1] == new[new_end - 1]:
        old_end, new_end = old_end - 1, new_end - 1
    return Change(old_start, old_end, new_start, new_end)


def _gaps(part: Change, pairs: Sequence[tuple[int, int]]) -> Iterator[Change]:
    """Give what lies between lines that are the same."""
    at_old, at_new = part.old_start, part.new_start
    for in_old, in_new in [*pairs, (part.old_end, part.new_end)]:
        if in_old > at_old or in_new > at_new:
            yield Change(at_old, in_old, at_new, in_new)
        at_old, at_new = in_old + 1, in_new + 1


def _shortest(
    old: Sequence[bytes], new: Sequence[bytes], part: Change, budget: _Budget
) -> list[tuple[int, int]] | None:
    """Return the lines that are the same on the shortest way through a part; ``None`` when it takes too long to find.

    Myers: after ``d`` changed lines, the farthest point on each diagonal follows from those after ``d - 1``.
    """
    rows, columns = part.old_end - part.old_start, part.new_end - part.new_start
    steps = min(_STEPS_AT_ONCE, budget.left)
    farthest = {1: 0}
    history: list[dict[int, int]] = []
    for changed in range(min(rows + columns, _FARTHEST) + 1):
        history.append(dict(farthest))
        for diagonal in range(-changed, changed + 1, 2):
            down = diagonal == -changed or (diagonal != changed and farthest[diagonal - 1] < farthest[diagonal + 1])
            x = farthest[diagonal + 1] if down else farthest[diagonal - 1] + 1
            y = x - diagonal
            begun = x
            while x < rows and y < columns and old[part.old_start + x] == new[part.new_start + y]:
                x, y = x + 1, y + 1
            steps -= 1 + x - begun
            farthest[diagonal] = x
            if x >= rows and y >= columns:
                budget.left = max(0, budget.left - (min(_STEPS_AT_ONCE, budget.left) - steps))
                return _way_back(history, part, rows, columns)
        if steps <= 0:
            break
    budget.left = max(0, budget.left - (min(_STEPS_AT_ONCE, budget.left) - steps))
    return None


def _way_back(history: Sequence[dict[int, int]], part: Change, x: int, y: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for changed in range(len(history) - 1, -1, -1):
        farthest, diagonal = history[changed], x - y
        down = diagonal == -changed or (diagonal != changed and farthest[diagonal - 1] < farthest[diagonal + 1])
        former = diagonal + 1 if down else diagonal - 1
        from_x = farthest[former]
        from_y = from_x - former
        start_x = from_x if down else from_x + 1
        if changed == 0:
            start_x = 0
        while x > start_x and y > 0:
            x, y = x - 1, y - 1
            pairs.append((part.old_start + x, part.new_start + y))
        x, y = from_x, from_y
    return pairs[::-1]


def _anchors(old: Sequence[bytes], new: Sequence[bytes], part: Change) -> list[tuple[int, int]]:
    """Return the longest row of lines that are in both parts exactly once and in the same order."""
    old_range, new_range = range(part.old_start, part.old_end), range(part.new_start, part.new_end)
    old_counts, new_counts = Counter(old[i] for i in old_range), Counter(new[j] for j in new_range)
    places = {new[j]: j for j in new_range if new_counts[new[j]] == 1}
    pairs = [(i, places[old[i]]) for i in old_range if old_counts[old[i]] == 1 and old[i] in places]
    # The longest increasing row of places: the piles of a patience sorter, followed back from the last.
    tops: list[int] = []
    rows: list[int] = []
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        pile = bisect_left(tops, place)
        before.append(rows[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(place)
            rows.append(number)
        else:
            tops[pile], rows[pile] = place, number
    found: list[tuple[int, int]] = []
    at = rows[-1] if rows else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]


def _lines(text: bytes) -> list[bytes]:
    """Return the lines with their ends; only a line feed ends one."""
    lines = [line + b"\n" for line in text.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _groups(found: Sequence[Change], context: int) -> Iterator[list[Change]]:
    """Give the changes whose contexts touch, together."""
    group: list[Change] = []
    for change in found:
        if group and change.old_start - group[-1].old_end > 2 * context:
            yield group
            group = []
        group.append(change)
    if group:
        yield group


def _hunk(old: Sequence[bytes], new: Sequence[bytes], group: Sequence[Change], context: int) -> bytes:
    first, last = group[0], group[-1]
    ahead = min(context, first.old_start)
    behind = min(context, len(old) - last.old_end)
    old_start, new_start = first.old_start - ahead, first.new_start - ahead
    head = b"@@ -%s +%s @@\n" % (
        _span(old_start, last.old_end + behind - old_start),
        _span(new_start, last.new_end + behind - new_start),
    )
    parts = [head]
    at = old_start
    for change in group:
        parts += [_line(b" ", old[i]) for i in range(at, change.old_start)]
        parts += [_line(b"-", old[i]) for i in range(change.old_start, change.old_end)]
        parts += [_line(b"+", new[j]) for j in range(change.new_start, change.new_end)]
        at = change.old_end
    parts += [_line(b" ", old[i]) for i in range(at, at + behind)]
    return b"".join(parts)


def _span(start: int, length: int) -> bytes:
    first = start + 1 if length else start
    return b"%d" % first if length == 1 else b"%d,%d" % (first, length)


def _line(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + b"\n\\ No newline at end of file\n"
