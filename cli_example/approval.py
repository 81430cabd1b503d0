"""Asking a person whether what a project brings along may act on this host. The exact text is shown, on standard error."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import anyio

from cli_example.render import clean

if TYPE_CHECKING:
    from nexus.models.trust import TrustItem, TrustReview

_YES = frozenset({b"y", b"yes"})


def can_ask() -> bool:
    """Return whether a person types and reads here."""
    return sys.stdin is not None and os.isatty(0) and os.isatty(2)


async def ask(items: Sequence[TrustItem]) -> bool:
    """Show what it is about and return whether the answer is yes. Where nobody can be asked it is no.

    Args:
        items: What would be approved.
    """
    if not can_ask():
        return False
    sys.stderr.write("This project wants to run this on this host, as you, with nothing between it and your files:\n\n")
    sys.stderr.writelines(f"{clean(line)}\n" for item in items for line in shown(item))
    # What was typed before the text was there to be read is no answer to it.
    termios.tcflush(0, termios.TCIFLUSH)
    sys.stderr.write("Run it, now and whenever it is exactly this? [y/N] ")
    sys.stderr.flush()
    await anyio.wait_readable(0)
    return os.read(0, 4096).strip().lower() in _YES


def shown(item: TrustItem, remark: str = "") -> Iterator[str]:
    """Give an item's text with its line numbers, so that nothing in it can pass for anything but a line of it."""
    yield f"{item.kind}{remark}, {item.where}, SHA-256 {item.digest}"
    for number, line in enumerate(item.lines(), 1):
        yield f"{number:>5} | {line}"
    yield ""


def reviewed(reviews: Sequence[TrustReview]) -> list[str]:
    """Return the lines that show items and whether they are approved."""
    return [
        line
        for review in reviews
        for line in shown(review.item, " (approved)" if review.approved else " (not approved)")
    ]
