"""Compose files as trees: merge keys resolved, variables put in, several files laid over each other. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Final

from nexus.config.adopting.interpolation import CannotInterpolate, interpolate
from nexus.config.adopting.sheet import Sheet
from nexus.config.bounds import MAX_TEXT
from nexus.config.layers import Branch, Items, Leaf, Node, key_place

_REPLACED: Final = frozenset({"command", "entrypoint", "test"})
"""Lists of which the last file's counts alone; all others are added up."""
FILLED: Final = "with variables of the .env file"
"""The note of a value that variables were put into."""
PAIRS: Final = frozenset({"environment", "args", "labels"})
"""Maps that may be written as a list ``NAME=value``."""


def compose_document(files: Sequence[Branch], variables: Mapping[str, str], sheet: Sheet) -> Branch:
    """Return what the files mean together.

    Args:
        files: Their trees, each ranking above the one before it.
        variables: What may be put in; nothing of this host.
        sheet: Gets variables that are missing, and texts that cannot be read.
    """
    filled = [_Filling(variables, sheet).fill(merge_keys(file, sheet)) for file in files]
    laid = reduce(overlay, (_normal(file, sheet) for file in filled))
    return laid if isinstance(laid, Branch) else files[0]


def merge_keys(node: Node, sheet: Sheet) -> Node:
    """Return the tree with every ``<<`` replaced by what it names; a map's own keys rank above it."""
    if isinstance(node, Items):
        return replace(node, items=tuple(merge_keys(item, sheet) for item in node.items))
    if not isinstance(node, Branch):
        return node
    children = {name: merge_keys(below, sheet) for name, below in node.children.items()}
    keys = dict(node.keys)
    merged = children.pop("<<", None)
    for source in merged.items if isinstance(merged, Items) else (merged,) if merged is not None else ():
        if not isinstance(source, Branch):
            sheet.wrong("<<", source, "a map, or a list of maps")
            continue
        for name, below in source.children.items():
            if name not in children:
                children[name] = below
                keys[name] = key_place(source, name)
    return replace(node, children=children, keys=keys)


def _pairs(key: str, node: Node, sheet: Sheet) -> Node:
    """Return a list ``NAME=value`` as the map it means; a name without a value has none. A map stays."""
    if not isinstance(node, Items):
        return node
    found: dict[str, Node] = {}
    for _, text, place in sheet.texts(key, node):
        name, mark, value = text.partition("=")
        found[name] = Leaf(value if mark else None, place, text=value if mark else None)
    return Branch(found, node.place, {name: below.place for name, below in found.items()})


class _Filling:
    """Puts variables in, and stops when all values together grow too long."""

    def __init__(self, variables: Mapping[str, str], sheet: Sheet) -> None:
        self._variables = variables
        self._sheet = sheet
        self._length = 0

    def fill(self, node: Node) -> Node:
        match node:
            case Branch():
                # Extensions are there to be referred to; what is in them counts where it is used.
                kept = {name: below for name, below in node.children.items() if not name.startswith("x-")}
                return replace(node, children={name: self.fill(below) for name, below in kept.items()})
            case Items():
                return replace(node, items=tuple(self.fill(item) for item in node.items))
            case Leaf(value=str() as text) if "$" in text and self._length <= MAX_TEXT:
                return self._filled(node, text)
            case _:
                return node

    def _filled(self, node: Leaf, text: str) -> Leaf:
        def missing(name: str) -> None:
            self._sheet.leave(
                name,
                node.place,
                "is not set in the .env file beside the compose file, so it counts as empty",
                "variables of this host are not read",
            )

        try:
            value = interpolate(text, self._variables, missing)
        except CannotInterpolate as error:
            hint = "variables come from the file .env beside the compose file, never from this host"
            self._sheet.problems.add(node.place, f"this text {error}", hint=hint)
            return node
        self._length += len(value)
        if self._length > MAX_TEXT:
            self._sheet.problems.add(
                node.place, f"the values come to more than {MAX_TEXT // 1024} KiB with their variables"
            )
        return replace(node, value=value, text=value, note=FILLED if value != text.replace("$$", "$") else node.note)


def _normal(node: Node, sheet: Sheet, key: str = "") -> Node:
    """Return the tree with lists of pairs as maps, so that files can be laid over each other."""
    match node:
        case Branch():
            return replace(node, children={name: _normal(below, sheet, name) for name, below in node.children.items()})
        case Items() if key in PAIRS:
            return _pairs(key, node, sheet)
        case _:
            return node


def overlay(low: Node, high: Node, key: str = "") -> Node:
    """Return what two trees mean together: maps are laid over each other, lists added up, except those that say a command."""
    match low, high:
        case Branch(), Branch():
            children = dict(low.children)
            for name, below in high.children.items():
                children[name] = overlay(children[name], below, name) if name in children else below
            return replace(high, children=children, keys={**low.keys, **high.keys})
        case Items(), Items() if key not in _REPLACED:
            return replace(high, items=(*low.items, *high.items))
        case _:
            return high
