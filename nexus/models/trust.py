"""What a user has to approve before it may act on this host."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from nexus.models.base import Model

_SHOWN: Final = 3
_LONGEST: Final = 160


class TrustItem(Model):
    """One piece of content that wants to act on this host. It is approved exactly as it is, or not at all."""

    kind: str
    """What it would be used as: ``pre-start``, ``on_wake`` …"""
    where: str
    """Where it is written: ``file:line:column``, or words."""
    content: str
    """The exact text."""

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        return hashlib.sha256(self.content.encode("utf-8", "surrogatepass")).hexdigest()

    def lines(self) -> tuple[str, ...]:
        """Return the text line by line with everything escaped that a terminal would act on, so that no line can hide another."""
        return tuple(visible(line) for line in self.content.removesuffix("\n").split("\n"))

    def summary(self) -> str:
        """Return kind, place and first lines, in one line."""
        lines = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…" for line in self.lines()]
        more = f" ⏎ … ({len(lines)} lines)" if len(lines) > _SHOWN else ""
        return f"{visible(self.kind)} ({visible(self.where)}): {' ⏎ '.join(lines[:_SHOWN])}{more}"


Approve: TypeAlias = Callable[[tuple[TrustItem, ...]], bool | Awaitable[bool]]
"""Asked whether these may act on this host. Gets what was never approved, in one call; its yes is stored, a no is not."""


class TrustReview(Model):
    """An item, and whether its user has approved it."""

    item: TrustItem
    approved: bool


class Approval(Model):
    """That a user has approved something."""

    repository: Path
    """The repository's main work tree: what is approved for one is not for another."""
    kind: str
    digest: str
    """SHA-256 of the content."""
    where: str
    """Where it was written then."""
    first_line: str
    """The beginning of its first line, to recognise it by."""
    approved_at: datetime


def visible(text: str) -> str:
    """Return ``text`` with control characters, invisible ones and those that change direction as escapes; tabs stay."""
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape", "replace").decode("ascii")
        for char in text
    )
