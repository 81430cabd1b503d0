from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument, PathEscape, PathNotFound, Unsupported
from nexus.models.files import GrepMatch
from nexus.workspace.files import FileSystem
from nexus.workspace.grep_pattern import Case, Needle


async def found(fs: FileSystem, pattern: str, **options: object) -> list[tuple[str, int, str]]:
    return [(m.path, m.line, m.text) async for m in fs.grep(pattern, **options)]  # type: ignore[arg-type]


async def test_lines_are_found_file_after_file(fs: FileSystem, root: Path) -> None:
    (root / "b").mkdir()
    (root / "a.py").write_text("import os\nx = 1\nimport re\r\n")
    (root / "b" / "c.txt").write_text("important\nno\n")
    assert await found(fs, r"^import\b") == [("a.py", 1, "import os"), ("a.py", 3, "import re")]
    assert await found(fs, "import") == [
        ("a.py", 1, "import os"),
        ("a.py", 3, "import re"),
        ("b/c.txt", 1, "important"),
    ]
    assert await found(fs, "import", path="b") == [("b/c.txt", 1, "important")]
    assert await found(fs, "import", path="b/c.txt") == [("b/c.txt", 1, "important")]
    assert await found(fs, "import", limit=2) == [("a.py", 1, "import os"), ("a.py", 3, "import re")]


async def test_where_in_the_line_it_is(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes("é ä needle\n".encode() + b"\xff needle\n" + b"x" * 5000 + b"needle" + b"y" * 5000)
    matches = [match async for match in fs.grep("needle")]
    assert [match.text[match.start : match.end] for match in matches] == ["needle"] * 3
    assert matches[0].start == 4
    assert matches[1].text == "\N{REPLACEMENT CHARACTER} needle"
    assert len(matches[2].text) <= 1000


async def test_case(fs: FileSystem, root: Path) -> None:
    (root / "f").write_text("Word\nword\n")
    wanted: dict[tuple[str, Case], list[int]] = {
        ("word", "sensitive"): [2],
        ("WORD", "insensitive"): [1, 2],
        ("word", "smart"): [1, 2],
        ("Word", "smart"): [1],
    }
    for (pattern, case), lines in wanted.items():
        assert [match.line async for match in fs.grep(pattern, case=case)] == lines


async def test_a_text_is_looked_for_word_for_word(fs: FileSystem, root: Path) -> None:
    (root / "f").write_text("a.b(\naxb(\n")
    assert await found(fs, "a.b(", regex=False) == [("f", 1, "a.b(")]
    with pytest.raises(InvalidArgument, match="cannot be looked for"):
        await found(fs, "a.b(")


@pytest.mark.parametrize(
    "pattern", ["", "a\nb", "a\0b", "x" * 5000, "(?=a)", r"(a)\1", "((a{1000}){1000}){1000}", "\ud800"]
)
async def test_patterns_that_cannot_be_used(fs: FileSystem, pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        await found(fs, pattern)


async def test_which_files_are_looked_into(fs: FileSystem, root: Path) -> None:
    for name in (
        "a.py",
        "a.js",
        "src/b.py",
        "node_modules/c.py",
        ".git/d.py",
        ".hidden/e.py",
        "build/f.py",
        "build/keep.py",
    ):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x\n")
    (root / "bin").write_bytes(b"x\n\0x\n")
    (root / ".gitignore").write_text("node_modules/\nbuild/*\n!keep.py\n")
    (root / "src" / ".gitignore").write_text("/b.py\n")
    (root / ".nexus-0123456789abcdef01234567.tmp").write_text("x\n")
    (root / "link.py").symlink_to("a.py")
    (root / "linked").symlink_to("src")
    os.mkfifo(root / "fifo")

    async def paths(**options: object) -> list[str]:
        return [path for path, _, _ in await found(fs, "^x$", **options)]

    assert await paths() == ["a.js", "a.py", ".hidden/e.py", "build/keep.py"]
    assert await paths(ignored=True, include=["*.py"]) == [
        "a.py",
        ".hidden/e.py",
        "build/f.py",
        "build/keep.py",
        "node_modules/c.py",
        "src/b.py",
    ]
    assert await paths(ignored=True, exclude=["build", "*.js"], include=["*/*.py"]) == [
        ".hidden/e.py",
        "node_modules/c.py",
        "src/b.py",
    ]
    # What is asked for by name is looked into, and the ignore files above it count.
    assert await paths(path="node_modules") == ["node_modules/c.py"]
    assert await paths(path="build") == ["build/keep.py"]
    assert await paths(path="src") == []


async def test_git_agrees_about_what_is_ignored(fs: FileSystem, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    for name in ("one", "two.log", "a/one", "a/two.log", "a/b/one", "a/b/keep.log"):
        (root / name).write_text("needle\n")
    (root / ".gitignore").write_text("*.log\n/one\n")
    (root / "a" / ".gitignore").write_text("b/*\n!b/keep.log\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    wanted = subprocess.run(
        ["git", "grep", "--untracked", "-l", "needle"], cwd=root, check=True, capture_output=True, text=True
    ).stdout.split()
    assert sorted(path for path, _, _ in await found(fs, "needle")) == sorted(wanted)


async def test_what_leads_out_is_not_searched(fs: FileSystem, root: Path) -> None:
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "secret").write_text("secret\n")
    (root / "link").symlink_to(root.parent / "outside")
    assert await found(fs, "secret") == []
    for path, error in (("link", PathEscape), ("../outside", PathEscape), ("no", PathNotFound)):
        with pytest.raises(error):
            await found(fs, "secret", path=path)


async def test_a_file_of_any_size_is_searched_to_its_end(fs: FileSystem, root: Path) -> None:
    # More than one step takes, with a line that is longer than a piece.
    (root / "large").write_bytes(b"0123456789\n" * 500_000 + b"y" * 200_000 + b"\n" + b"needle\n")
    assert [(m.line, m.text) async for m in fs.grep("needle")] == [(500_002, "needle")]
    assert [(m.line, m.text) async for m in fs.grep("needle", path="large")] == [(500_002, "needle")]
    assert len(await found(fs, "0", limit=350)) == 350


async def test_a_hole_without_end_is_no_text(fs: FileSystem, root: Path) -> None:
    with (root / "sparse").open("wb") as file:
        file.write(b"needle\n")
        file.truncate(1 << 40)
    assert await found(fs, "needle") == []  # the first piece holds NUL characters


async def test_patterns_that_keep_other_engines_busy_do_not_keep_this_one(fs: FileSystem, root: Path) -> None:
    (root / "f").write_text("a" * 50_000 + "!\n")
    for pattern in (r"^(a+)+$", r"(a|aa)+$", r"^(a|a?)+$", r"(.*)*x$"):
        assert await found(fs, pattern) == []


async def test_a_search_that_is_cancelled_ends(fs: FileSystem, root: Path) -> None:
    (root / "large").write_bytes(b"0123456789\n" * 1_000_000)
    seen: list[GrepMatch] = []
    with anyio.CancelScope() as scope:
        async for match in fs.grep("9$", limit=10_000_000):
            seen.append(match)
            scope.cancel()
    assert 1 <= len(seen) < 1_000_000


async def test_without_the_engine_the_error_says_what_to_install(
    fs: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(Unsupported) as caught:
        await found(fs, "x")
    assert "nexus-workspace[search]" in (caught.value.hint or "")


_LINES = st.lists(st.text(alphabet="abA é.x", max_size=6), max_size=8)


@given(lines=_LINES, pattern=st.sampled_from(["a", "^a", "b$", "^$", "a|b", "x?", "[^a]b", ".", "é", r"\.", "(ab)+"]))
def test_lines_are_those_that_python_finds(lines: list[str], pattern: str) -> None:
    text = "\n".join(lines)
    wanted = [(number, line) for number, line in enumerate(text.split("\n")) if re.search(pattern, line) is not None]
    if wanted and wanted[-1] == (text.count("\n"), ""):
        wanted.pop()  # after the last line's end there is no line
    seen = Needle.parse(pattern, regex=True, case="sensitive").lines(text.encode())
    assert [(line.number, line.text.decode()) for line in seen] == wanted
