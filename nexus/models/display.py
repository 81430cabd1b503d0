"""How values show themselves in a notebook: plain text first, and a little HTML. No script, no style from outside; everything escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

Bundle: TypeAlias = "dict[str, str]"
"""What Jupyter takes: a text for each kind of document."""

LINES: Final = 200
"""Lines of an output that are shown: the last ones."""
CHARACTERS: Final = 64 * 1024

_SEQUENCES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PRE: Final = '<pre style="margin:0;white-space:pre-wrap">'


def bundle(text: str, markup: str) -> Bundle:
    """Return a value's two faces; whoever takes the first one shows the text."""
    return {"text/plain": text, "text/html": markup}


def fields(caption: str, rows: Mapping[str, str]) -> str:
    """Return a table with a line for each field."""
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(key)}</th><td style="text-align:left">{html.escape(value)}</td></tr>'
        for key, value in rows.items()
    )
    return f"<table><caption>{html.escape(caption)}</caption>{cells}</table>"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a head."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def output(head: str, text: str, *, cut: bool = False) -> str:
    """Return what a command printed, below a line about it.

    Args:
        head: The line.
        text: The output; what a terminal would act on is left out.
        cut: Whether something is missing from its beginning already.
    """
    shown, shortened = last_lines(plain(text))
    note = "<div><em>… the beginning is left out</em></div>" if cut or shortened else ""
    return f"<div><strong>{html.escape(head)}</strong></div>{note}{_PRE}{html.escape(shown)}</pre>"


def plain(text: str) -> str:
    """Return a text without what a terminal would act on. Of a line that was written over and over, the last writing stays."""
    clean = _SEQUENCES.sub("", text).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in clean.split("\n"))
    return _CONTROLS.sub("", "\n".join(lines))


def last_lines(text: str) -> tuple[str, bool]:
    """Return the end of a text, and whether that is not all of it."""
    lines = text[-CHARACTERS:].rstrip("\n").split("\n")
    shown = "\n".join(lines[-LINES:])
    return shown, len(lines) > LINES or len(text) > CHARACTERS
