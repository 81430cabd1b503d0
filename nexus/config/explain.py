"""Why a key has its value: what each layer says, where, and who wins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from nexus.config.layers import Branch, KeyPath, Layer, LayerKind, Leaf, Node, child, leaves, plain, printable
from nexus.config.redact import redacted


@dataclass(frozen=True, slots=True)
class LayerValue:
    """What one layer says about a key."""

    layer: LayerKind
    place: str
    """``file:line:column``, ``flag --set``, ``env NEXUS_IMAGE`` or ``built-in``."""
    value: JsonValue
    """The value, secrets hidden; ``None`` where the layer removes the key."""
    wins: bool
    """Whether the result holds this value, for a map any part of it."""
    note: str | None = None
    """The spelling in the file, where it is another: the class ``large``, the key ``backend.docker.image``."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a key has its value. As text: a table, lowest layer first, the winner marked ``*``."""

    key: str
    value: JsonValue
    """The effective value, secrets hidden; ``None`` where there is none."""
    winner: LayerKind | None
    """The highest layer that the value comes from; ``None`` where no layer says anything."""
    layers: tuple[LayerValue, ...]
    """Every layer that says something, from low to high."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing: files that were not read."""

    def __str__(self) -> str:
        rows = [("", "LAYER", "PLACE", "VALUE")]
        for entry in self.layers:
            shown = "null (removed)" if entry.value is None else show_value(_without_nulls(entry.value))
            note = f"  ({printable(entry.note)})" if entry.note else ""
            rows.append(("*" if entry.wins else "", entry.layer.value, entry.place, shown + note))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        table = ["  ".join((*map(str.ljust, row[:3], widths), row[3])).rstrip() for row in rows]
        head = (
            f"{printable(self.key)} = {show_value(self.value)}"
            if self.value is not None
            else f"{printable(self.key)} is not set"
        )
        return "\n".join((head, *(table if self.layers else ()), *map(printable, self.notes)))


def _without_nulls(value: JsonValue) -> JsonValue:
    # A class or a short form sets to nothing what it does not say; in a line for people that is noise.
    if isinstance(value, dict):
        return {name: _without_nulls(below) for name, below in value.items() if below is not None}
    return value


def show_value(value: JsonValue) -> str:
    """Return a value in one line, text without quotes, nothing in it that a terminal would act on."""
    return printable(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


def explain(key: str, path: KeyPath, layers: Sequence[Layer], merged: Branch, notes: Sequence[str]) -> Explanation:
    """Return why ``path`` has its value.

    Args:
        key: The key as asked for.
        path: Its names.
        layers: The layers, from low to high.
        merged: The layers as one tree; it shares its leaves with them, which is how winners are known.
        notes: What else to say.
    """
    result = child(merged, *path)
    kept = {id(leaf) for _, leaf in leaves(result)} if result is not None else set()
    said = [(layer, node) for layer in layers if (node := _said(layer.root, path)) is not None]
    entries: list[LayerValue] = []
    for index, (layer, node) in enumerate(said):
        wins = any(id(leaf) in kept for _, leaf in leaves(node))
        if result is None and index == len(said) - 1:
            wins = True  # the highest layer that speaks is the one that removed the key
        note = node.note if isinstance(node, Leaf | Branch) else None
        entries.append(LayerValue(layer.kind, str(node.place), redacted(path, plain(node)), wins, note))
    winners = [entry.layer for entry in entries if entry.wins]
    value = redacted(path, plain(result)) if result is not None else None
    return Explanation(key, value, winners[-1] if winners else None, tuple(entries), tuple(notes))


def _said(root: Branch, path: KeyPath) -> Node | None:
    """Return what the layer says at ``path``: the node there, or the ``null`` above it that removes it."""
    node: Node = root
    for name in path:
        if not isinstance(node, Branch):
            return node
        below = node.children.get(name)
        if below is None:
            return None
        node = below
    return node
