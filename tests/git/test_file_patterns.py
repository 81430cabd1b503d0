"""Ignore patterns, compared with ``git check-ignore`` and with dulwich's own translation."""

from __future__ import annotations

import random
import re

from dulwich.wildmatch import MalformedPattern, translate
from hypothesis import assume, given
from hypothesis import strategies as st

from nexus.git.ignoring import is_ignored, parse_patterns
from nexus.git.wildmatch import compile_pattern
from tests.git.oracle import Git

PIECES = [
    "a",
    "b",
    "*",
    "**",
    "?",
    "/",
    "[ab]",
    "[!a]",
    "[^b]",
    "\\*",
    "\\a",
    ".",
    "/**/",
    "**/",
    "/**",
    "-",
    "[a-b]",
    "[[:alpha:]]",
    "!",
    "#",
]
NAMES = ["a", "b", "ab", "ba", "aab", "*", ".", "a.b", "-", "a*", "!a", "#", "abab"]


def ours(pattern: bytes, path: bytes) -> bool:
    """Walk down as the walk of a tree does: what is below an ignored folder is ignored."""
    levels = [(0, parse_patterns(pattern, ignore_case=False))]
    parts = path.split(b"/")
    return any(is_ignored(b"/".join(parts[:n]), levels, is_folder=n < len(parts)) for n in range(1, len(parts) + 1))


def test_git_ignores_what_we_ignore(git: Git) -> None:
    dice = random.Random(7)
    names = [name for name in NAMES if name != "."]
    paths = sorted({"/".join(dice.choices(names, k=dice.randint(1, 4))) for _ in range(60)})
    patterns = ["".join(dice.choices(PIECES, k=dice.randint(1, 6))) for _ in range(600)]
    # Git cuts the part before the first wildcard off, and then takes the stars of "a**/b" for the beginning of a component.
    patterns = [pattern for pattern in patterns if not re.search(r"[^/*]\*\*", pattern)]
    questions: list[str] = []
    for number, pattern in enumerate(patterns):
        git.write(f"p{number}/.gitignore", pattern + "\n")
        questions.extend(f"p{number}/{path}" for path in paths)
    answer = git.run("check-ignore", "--no-index", "--stdin", "-z", check=False, stdin="\0".join(questions).encode())
    theirs = set(answer.split("\0"))
    different = [
        (pattern, path)
        for number, pattern in enumerate(patterns)
        for path in paths
        if ours(pattern.encode(), path.encode()) != (f"p{number}/{path}" in theirs)
    ]
    assert different == []


@given(
    st.lists(st.sampled_from([b"a", b"b", b"*", b"?", b"/", b"[ab]", b"[!a]", b"**"]), min_size=1, max_size=8).map(
        b"".join
    ),
    st.lists(st.sampled_from([b"a", b"b", b"/", b"c"]), min_size=1, max_size=10).map(b"".join),
)
def test_bounded_and_naive_translation_agree(pattern: bytes, path: bytes) -> None:
    assume(not path.startswith(b"/") and not path.endswith(b"/") and b"//" not in path)
    assume(not pattern.startswith(b"/") and not pattern.endswith(b"/") and b"//" not in pattern)
    assume(b"***" not in pattern)  # git takes it as "**"; the library that serves as the second opinion does not
    try:
        naive = re.compile((b"" if b"/" in pattern else b"(?:.*/)?") + translate(pattern), re.DOTALL)
    except MalformedPattern:
        return
    assert bool(compile_pattern(pattern).fullmatch(path)) == bool(naive.fullmatch(path))
