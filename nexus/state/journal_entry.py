"""What a journal file says. Pure: lines in, one frozen value out, however torn the file is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from nexus.models.base import Model
from nexus.models.ids import WorkspaceId
from nexus.models.workspace import ProcessState
from nexus.processes import is_alive

JOURNAL_SCHEMA: Final = 1


class JournalEntry(Model):
    """One operation that was begun and not closed."""

    id: str
    operation: str
    """What was going on: ``create``, ``destroy`` …; empty in a damaged entry."""
    workspace: WorkspaceId
    name: str
    """The workspace's name."""
    plan: tuple[str, ...]
    """The steps in their order."""
    facts: Mapping[str, JsonValue] = {}
    """What was known at the beginning, and what finished steps added; a later value replaces an earlier one."""
    started: tuple[str, ...] = ()
    """Steps that were begun, in the order of their first beginning, finished ones included."""
    finished: tuple[str, ...] = ()
    owner: ProcessState | None
    """The process that works on it; ``None`` where that could not be found out."""
    owner_alive: bool = False
    """Whether that process still ran when the entry was read."""
    begun_at: datetime | None
    path: Path
    damaged: str | None = None
    """Why the file cannot be trusted; what could be read is in the other fields."""


class Header(Model):
    """The first line."""

    schema_version: int
    id: str
    operation: str
    workspace: WorkspaceId
    name: str
    plan: tuple[str, ...]
    facts: Mapping[str, JsonValue] = {}
    owner: ProcessState | None
    begun_at: datetime


class Line(Model):
    """Every other line: exactly one of its fields, ``facts`` only with ``done``."""

    doing: str | None = None
    done: str | None = None
    facts: Mapping[str, JsonValue] = {}
    owner: ProcessState | None = None
    """Another process has taken over."""


_LINE: Final = TypeAdapter(Line)


def encode_line(value: Header | Line) -> bytes:
    """Return the value as one line of JSON.

    Raises:
        ValueError: When a fact holds what JSON cannot.
    """
    return value.model_dump_json(exclude_defaults=isinstance(value, Line)).encode() + b"\n"


def read_beginning(path: Path, data: bytes) -> JournalEntry:
    """Return what a journal file says in its first line alone: what it is about, and not how far it got."""
    line, _, _ = data.partition(b"\n")
    return read_entry(path, line + b"\n")[0]


def read_entry(path: Path, data: bytes) -> tuple[JournalEntry, int]:
    """Return what a journal file says, and how many of its bytes are whole lines.

    The last line may be torn: its writer died before the step it announces was taken, so it counts as never written.
    A line that is unreadable elsewhere cannot come from a crash; the entry then says ``damaged``.
    """
    lines = data.splitlines(keepends=True)
    try:
        header = Header.model_validate_json(lines[0] if lines else b"")
    except ValidationError:
        return unreadable_entry(path, "its first line cannot be read"), 0
    if header.schema_version != JOURNAL_SCHEMA:
        reason = f"its schema_version is {header.schema_version}, this version of Nexus knows {JOURNAL_SCHEMA}"
        return unreadable_entry(path, reason), 0
    entry = entry_of(path, header)
    if header.id != path.stem:
        entry = entry.model_copy(update={"damaged": f"it is the journal {header.id!r}"})
    whole = len(lines[0])
    for number, text in enumerate(lines[1:], start=2):
        try:
            entry = with_line(entry, _LINE.validate_json(text))
        except ValidationError:
            if number != len(lines):
                entry = entry.model_copy(update={"damaged": f"its line {number} cannot be read"})
            continue
        whole += len(text)
    alive = entry.owner is not None and is_alive(entry.owner)
    return entry.model_copy(update={"owner_alive": alive}), whole


def entry_of(path: Path, header: Header, *, owner_alive: bool = False) -> JournalEntry:
    """Return what a journal says that has only its first line."""
    return JournalEntry(
        id=path.stem,
        operation=header.operation,
        workspace=header.workspace,
        name=header.name,
        plan=header.plan,
        facts=header.facts,
        owner=header.owner,
        owner_alive=owner_alive,
        begun_at=header.begun_at,
        path=path,
    )


def with_line(entry: JournalEntry, line: Line) -> JournalEntry:
    """Return the entry after one more line."""
    update: dict[str, object] = {}
    begun = line.doing or line.done
    if begun is not None and begun not in entry.started:
        update["started"] = (*entry.started, begun)
    if line.done is not None and line.done not in entry.finished:
        update["finished"] = (*entry.finished, line.done)
    if line.facts:
        update["facts"] = {**entry.facts, **line.facts}
    if line.owner is not None:
        update["owner"] = line.owner
    return entry.model_copy(update=update)


def unreadable_entry(path: Path, reason: str) -> JournalEntry:
    """Return the entry for a file of which nothing is known but that it is there."""
    return JournalEntry(
        id=path.stem,
        operation="",
        workspace=WorkspaceId(""),
        name="",
        plan=(),
        owner=None,
        begun_at=None,
        path=path,
        damaged=reason,
    )
