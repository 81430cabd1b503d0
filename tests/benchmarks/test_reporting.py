"""What benchmarks say: verdicts, tables, sections of the page, plots."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import report
from benchmarks.harness import QUICK, Effort, alone, beside, compared, judged, percentile
from benchmarks.plot import Bar, Line, bars, lines

SVG = "{http://www.w3.org/2000/svg}"


def test_a_budget_is_a_limit_on_the_median_of_the_ratios() -> None:
    # One slow round on both sides says nothing about the ratio.
    pairs = [(10.0, 10.0), (100.0, 50.0), (11.0, 10.0)]
    assert compared("x", pairs, "y", at_most=1.1).met is True
    assert compared("x", pairs, "y", at_most=1.05).met is False
    assert compared("x", pairs, "y").met is None


def test_a_limit_in_milliseconds() -> None:
    assert judged("x", [1.0, 2.0, 90.0], limit_ms=2).met is True
    assert judged("x", [1.0, 3.0, 3.0], limit_ms=2).met is False
    assert percentile([3.0, 1.0, 2.0], 0.95) == 3.0


async def test_a_measurement_ends_after_its_rounds_or_its_time() -> None:
    calls = 0

    async def act() -> float:
        nonlocal calls
        calls += 1
        return 0.001

    assert (await alone("x", act, effort=Effort(rounds=7))).rounds == 7
    assert (await beside("x", act, "y", act, effort=Effort(rounds=50, seconds=0))).rounds == 3
    assert calls == 8 + 2 * 4
    assert QUICK.times(4).rounds == 4 * QUICK.rounds
    assert QUICK.times(4).quick


def test_a_table_says_what_was_missed() -> None:
    text = report.text([judged("slow", [9.0], limit_ms=1), judged("quick", [0.5], limit_ms=1)])
    slow, quick = text.splitlines()[1:]
    assert slow.endswith("MISSED")
    assert quick.endswith("met")
    assert report.markdown([judged("slow", [9.0], limit_ms=1)]).splitlines()[2].startswith("| slow | 9.00 ms |")


def test_a_section_is_replaced_and_nothing_else() -> None:
    page = "head\n<!-- a: begin -->\nold\n<!-- a: end -->\nmiddle\n<!-- b: begin -->\n<!-- b: end -->\n"
    once = report.replaced(page, "a", "new")
    assert once == report.replaced(once, "a", "new")
    assert "old" not in once
    assert once.startswith("head\n")
    assert once.endswith("middle\n<!-- b: begin -->\n<!-- b: end -->\n")
    with pytest.raises(ValueError, match="no section 'c'"):
        report.replaced(page, "c", "new")


@pytest.mark.parametrize("section", ["budgets", "peers", "scale", "soak"])
def test_the_page_has_every_section(section: str) -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert "\nhere\n" in report.replaced(page, section, "here")


def test_the_machine_is_told_without_names_or_paths() -> None:
    line = report.machine("engine 1.2")
    assert line.endswith("engine 1.2")
    assert Path.home().name not in line.split()
    assert "/" not in line


def test_bars_are_as_long_as_what_they_show() -> None:
    drawn = ElementTree.fromstring(bars("A & B", {"job": [Bar("ours", 5.0, ours=True), Bar("theirs", 20.0)]}))
    ours, theirs = (float(bar.attrib["width"]) for bar in drawn.iter(f"{SVG}rect"))
    assert theirs == pytest.approx(4 * ours, rel=0.01)
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert {"A & B", "job", "ours", "5 ms", "theirs", "20 ms"} <= set(texts)


def test_lines_rise_with_what_they_show() -> None:
    drawn = ElementTree.fromstring(lines("t", "x", {"panel": [Line("l", [(1, 1.0), (2, 4.0)])]}))
    (line,) = drawn.iter(f"{SVG}polyline")
    (x1, y1), (x2, y2) = (tuple(map(float, point.split(","))) for point in line.attrib["points"].split())
    assert x2 > x1
    assert y2 < y1
