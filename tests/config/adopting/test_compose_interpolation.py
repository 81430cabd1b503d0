"""Variables of compose files: every form, and no way to make a small file large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.config.adopting.dotenv import read_dotenv
from nexus.config.adopting.interpolation import MAX_TEXT, CannotInterpolate, interpolate
from nexus.config.layers import Place
from nexus.config.problems import Problems


def ignored(_: str) -> None:
    """Nobody asks what is missing."""


KNOWN = {"X": "x", "EMPTY": "", "LONG": "y" * 100_000}


@pytest.mark.parametrize(
    ("text", "result", "missing"),
    [
        ("$X-${X}", "x-x", []),
        ("$$X $${X}", "$X ${X}", []),
        ("$NO.${NO}", ".", ["NO", "NO"]),
        ("${NO:-d}${NO-d}${EMPTY:-d}[${EMPTY-d}]", "ddd[]", []),
        ("${X:+r}${X+r}[${EMPTY:+r}${NO+r}]${EMPTY+r}", "rr[]r", []),
        ("${NO:-a${X}b${NO:-${EMPTY:-c}}}", "axbc", []),
        ("${X:-${NO}}", "x", []),
        ("${NO:-$$}", "$", []),
        ("${X:?why}${X?why}${EMPTY?why}", "xx", []),
        ("{a} }", "{a} }", []),
    ],
)
def test_every_form(text: str, result: str, missing: list[str]) -> None:
    lacking: list[str] = []
    assert interpolate(text, KNOWN, lacking.append) == result
    assert lacking == missing


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${NO:?set it}", "needs the variable NO, which is not set: set it"),
        ("${EMPTY:?}", "needs the variable EMPTY, which is not set: it is required"),
        ("a $ b", "has a '$' that names no variable; write '$$' for a '$'"),
        ("${X", "has '${X' without its '}'"),
        ("${X!}", "has '${X' without its '}'"),
        ("${NO:-" * 20 + "}" * 20, "nests variables deeper than 16 levels"),
        ("$LONG$LONG", f"comes to more than {MAX_TEXT} characters"),
    ],
)
def test_what_cannot_be_put_in_is_said(text: str, words: str) -> None:
    with pytest.raises(CannotInterpolate) as caught:
        interpolate(text, KNOWN, ignored)
    assert str(caught.value) == words


@given(st.text())
def test_a_text_without_variables_stays(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}, ignored) == text


@given(st.text(alphabet="${}:-?+XN ", max_size=40))
def test_any_text_is_filled_or_refused(text: str) -> None:
    try:
        result = interpolate(text, {"X": "1"}, ignored)
    except CannotInterpolate:
        return
    assert len(result) <= len(text)


@given(
    st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.text(st.characters(codec="utf-8"), max_size=20))
)
def test_single_quotes_keep_everything(values: dict[str, str]) -> None:
    kept = {name: value for name, value in values.items() if not set(value) & set("'\n\r\0")}
    text = "\n".join(f"export {name} = '{value}' # why" for name, value in kept.items())
    problems = Problems()
    found = read_dotenv(text, ".env", {}, problems)
    assert problems.lines() == ()
    assert {name: leaf.value for name, leaf in found.items()} == kept


def test_lines_of_a_file_of_variables() -> None:
    problems = Problems()
    text = 'A=1 # one\r\n\n# no\nB="two\\n\\"$A\\" \\$x"\nC=a#b\nD\nE: colon\n  F=\n'
    found = read_dotenv(text, ".env", {}, problems)
    assert {name: leaf.value for name, leaf in found.items()} == {
        "A": "1", "B": 'two\n"1" $x', "C": "a#b", "E": "colon", "F": "",
    }  # fmt: skip
    assert found["B"].place == Place(".env", 4, 3)
    assert problems.lines() == ()


def test_a_bad_line_is_told_without_its_content() -> None:
    problems = Problems()
    read_dotenv("OK=1\n s3cret value\nQ='s3cret\nR='a's3cret\nS=$ s3cret\n", ".env", {}, problems)
    lines = problems.lines()
    assert [line.split(": ")[0] for line in lines] == [".env:2:2", ".env:3:1", ".env:4:1", ".env:5:1"]
    assert not any("s3cret" in line for line in lines)


def test_variables_that_double_do_not_fill_the_memory() -> None:
    problems = Problems()
    lines = ["A0=" + "x" * 1000, *(f"A{n}=$A{n - 1}$A{n - 1}" for n in range(1, 60))]
    found = read_dotenv("\n".join(lines), ".env", {}, problems)
    assert sum(len(str(leaf.value)) for leaf in found.values()) < 4_500_000
    assert problems.lines()
