"""Putting a table, facts or lines on standard output: drawn for a terminal, plain and aligned for everybody else."""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TextIO, TypeAlias

_GOOD, _BUSY, _RESTING, _QUIET, _BAD = range(5)

_KINDS: Final = {
    "running": _GOOD,
    "ok": _GOOD,
    "info": _GOOD,
    "fixed": _GOOD,
    "pending": _BUSY,
    "paused": _RESTING,
    "warning": _RESTING,
    "stopped": _QUIET,
    "error": _BAD,
    "damaged": _BAD,
    "missing": _BAD,
    "destroying": _BAD,
}
_THEMES: Final = {
    "auto": ("green", "cyan", "yellow", "dim", "red"),
    "dark": ("bright_green", "bright_cyan", "bright_yellow", "bright_black", "bright_red"),
    # Yellow and cyan cannot be read on white.
    "light": ("green4", "blue", "dark_orange3", "grey50", "red3"),
    "none": ("", "", "", "", ""),
}


def style(word: str, theme: str) -> str:
    """Return the colour of a word in a table, in rich's spelling; empty for a word that has none.

    Args:
        word: For example a status.
        theme: A value of ``preferences.theme``.
    """
    kind = _KINDS.get(word)
    return "" if kind is None else _THEMES[theme][kind]


class Table(NamedTuple):
    """Rows under headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Facts(NamedTuple):
    """Names and values, one pair a line."""

    pairs: Sequence[tuple[str, str]]


class Lines(NamedTuple):
    """Sentences, one a line."""

    lines: Sequence[str]


View: TypeAlias = Table | Facts | Lines


def clean(text: str) -> str:
    """Return ``text`` with everything escaped that a terminal would act on: file names and branches may be hostile."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person watches this stream."""
    return stream is not None and not stream.closed and stream.isatty()


def draw(view: View, *, empty: str, theme: str = "auto") -> None:
    """Print a view on standard output, or on standard error that it is empty.

    Args:
        view: What to print.
        empty: What to say when there is nothing in it.
        theme: Its colours on a terminal: a value of ``preferences.theme``.
    """
    if isinstance(view, Table) and not view.rows:
        sys.stderr.write(f"{empty}\n")
        return
    if is_terminal(sys.stdout):
        _draw_rich(view, theme)
        return
    sys.stdout.writelines(f"{line}\n" for line in _plain(view))
    sys.stdout.flush()


def _plain(view: View) -> Iterator[str]:
    match view:
        case Table():
            yield from _aligned([view.headings, *view.rows])
        case Facts():
            yield from _aligned(view.pairs)
        case Lines():
            yield from map(clean, view.lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    from rich.cells import cell_len

    cleaned = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*cleaned, strict=True)]
    for row in cleaned:
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _draw_rich(view: View, theme: str) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    def cell(text: str) -> Text:
        return Text(clean(text), style=style(text, theme), overflow="fold")

    console = Console(highlight=False, no_color=True if theme == "none" else None)
    match view:
        case Table():
            table = RichTable(*view.headings, box=None, header_style="bold", pad_edge=False)
            for row in view.rows:
                table.add_row(*map(cell, row))
            console.print(table)
        case Facts():
            table = RichTable.grid(padding=(0, 2))
            for name, value in view.pairs:
                table.add_row(Text(name, style="bold"), cell(value))
            console.print(table)
        case Lines():
            for line in view.lines:
                console.print(Text(clean(line)), soft_wrap=True)
