from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus.git import line_diff
from nexus.git.line_diff import Change, changes, unified

_TEXT = st.lists(st.sampled_from(["a", "b", "c", "", "long line"]), max_size=14)


def applied(old: list[bytes], new: list[bytes], found: list[Change]) -> list[bytes]:
    made: list[bytes] = []
    at = 0
    for change in found:
        made += old[at : change.old_start] + new[change.new_start : change.new_end]
        at = change.old_end
    return made + old[at:]


def changed_on_the_shortest_way(old: list[bytes], new: list[bytes]) -> int:
    same = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, one in enumerate(old):
        for j, other in enumerate(new):
            same[i + 1][j + 1] = same[i][j] + 1 if one == other else max(same[i][j + 1], same[i + 1][j])
    return len(old) + len(new) - 2 * same[-1][-1]


@given(_TEXT, _TEXT)
def test_the_way_is_the_shortest_and_leads_there(before: list[str], after: list[str]) -> None:
    old, new = [line.encode() for line in before], [line.encode() for line in after]
    found = changes(old, new)
    assert applied(old, new, found) == new
    assert sum(len(range(c.old_start, c.old_end)) + len(range(c.new_start, c.new_end)) for c in found) == (
        changed_on_the_shortest_way(old, new)
    )


@given(_TEXT, _TEXT)
def test_it_leads_there_when_there_is_no_time_for_the_shortest_way(before: list[str], after: list[str]) -> None:
    old, new = [line.encode() for line in before], [line.encode() for line in after]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_diff, "_STEPS", 3)
        patch.setattr(line_diff, "_FARTHEST", 1)
        assert applied(old, new, changes(old, new)) == new


@settings(max_examples=30)
@given(
    before=st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"x\r\n", b"\xff\n", b"end"]), max_size=12).map(b"".join),
    after=st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b"y\r\n", b"\xfe\n", b"end"]), max_size=12).map(b"".join),
    context=st.integers(0, 4),
)
def test_git_applies_the_patch(
    before: bytes, after: bytes, context: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("patch")
    (folder / "f").write_bytes(before)
    hunks = unified(before, after, context=context)
    if before == after:
        assert hunks.text == b""
        return
    patch = b"diff --git a/f b/f\n--- a/f\n+++ b/f\n" + hunks.text
    flags = ["--unidiff-zero"] if context == 0 else []
    subprocess.run(["git", "apply", "--whitespace=nowarn", *flags], cwd=folder, input=patch, check=True)
    assert (folder / "f").read_bytes() == after


def test_texts_of_a_kind_that_takes_long_are_bounded() -> None:
    old = [b"ab"[n * n % 7 % 2 :][:1] for n in range(300_000)]
    new = [b"ab"[n * n % 11 % 2 :][:1] for n in range(300_000)]
    assert applied(old, new, changes(old, new)) == new


def test_lines_that_are_there_once_line_up_what_is_too_long() -> None:
    old = [b"%d" % n for n in range(5000)]
    new = [line for n, line in enumerate(old) if n % 3]  # far more changes than the shortest way may have
    found = changes(old, new)
    assert applied(old, new, found) == new
    assert len(found) == 1667, "not told as replaced as a whole"
