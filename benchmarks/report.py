"""Results for people: a table on the terminal, and sections of ``docs/benchmarks.md`` that each run replaces whole."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.harness import Sample

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "benchmarks.md"
_HEAD: Final = ("what", "median", "p95", "beside", "its median", "ratio", "budget", "")
_VERDICT: Final = {True: "met", False: "MISSED", None: ""}


def machine(*versions: str) -> str:
    """Return one line about the machine, without its name and without paths.

    Args:
        versions: What else took part, ``engine 20.10.24`` for example.
    """
    python = f"Python {platform.python_version()}"
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return ", ".join((time.strftime("%Y-%m-%d"), f"{os.cpu_count()} cores", system, python, *versions))


def version_of(*command: str) -> str:
    """Return the last word of what a program says of its version; ``?`` when it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "?"
    return done.stdout.split()[-1] if done.stdout.split() else "?"


def rows(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Return the cells of each line."""
    return [_row(sample) for sample in samples]


def text(samples: Sequence[Sample]) -> str:
    """Return the report as aligned text."""
    cells = [_HEAD, *rows(samples)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def markdown(samples: Sequence[Sample]) -> str:
    """Return the report as a table of a page."""
    return grid(_HEAD, rows(samples))


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table of a page; every column but the first is set to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


def write_section(name: str, content: str) -> None:
    """Replace one section of the page: what stands between its two markers."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replaced(page, name, content), encoding="utf-8")


def replaced(page: str, name: str, content: str) -> str:
    """Return the page with another section.

    Raises:
        ValueError: When it has no such section.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        msg = f"{PAGE.name} has no section {name!r}"
        raise ValueError(msg)
    return f"{head}{begin}\n{content.strip()}\n\n{end}{tail}"


def write_plot(name: str, svg: str) -> None:
    """Write a plot beside the page."""
    (DOCS / name).write_text(svg, encoding="utf-8")


def _row(sample: Sample) -> tuple[str, ...]:
    return (
        sample.name,
        _number(sample.median, sample.unit),
        _number(sample.p95, sample.unit),
        sample.beside or "",
        "" if sample.beside_median is None else _number(sample.beside_median, sample.unit),
        "" if sample.ratio is None else f"{sample.ratio:.2f} x",
        sample.budget,
        _VERDICT[sample.met],
    )


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()
