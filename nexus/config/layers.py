"""What a layer is: a tree of values, each with the place it was read from. Pure: nothing here touches the outside.

A tree has three kinds of node. A :class:`Branch` maps names to nodes, a :class:`Leaf` holds one value, and :class:`Items` is
a list whose entries have places of their own (only as read from a file; in a layer a list is one value, because lists
replace each other whole). A leaf whose value is ``None`` says that the key is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from pydantic import JsonValue

KeyPath: TypeAlias = tuple[str, ...]
"""A key, cut into its names: ``("defaults", "image")``."""

_BARE_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_KEY_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^".]+)')


class LayerKind(StrEnum):
    """Where a layer comes from, in order of rank: each overrides those before it."""

    BUILT_IN = "built-in"
    NODE = "node"
    USER = "user"
    PROJECT = "project"
    OVERRIDE = "project_overrides"
    """What the user's own file says for this one project."""
    FLAGS = "flags"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: a file with line and column (both from 1), or words such as ``env NEXUS_IMAGE``."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        source = printable(self.source)
        return source if self.line is None else f"{source}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value."""

    value: JsonValue
    place: Place
    note: str | None = None
    """How the value got here, where that is not plain: the key or the class it was written as."""
    text: str | None = None
    """The characters of a scalar in a file, which ``value`` may have lost (``1.20`` is the number 1.2)."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list in a file."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Branch:
    """Names and what they hold."""

    children: Mapping[str, Node]
    place: Place
    keys: Mapping[str, Place] = field(default_factory=dict)
    """Where each name itself stands."""
    note: str | None = None
    whole: bool = False
    """Whether it replaces what a lower layer says instead of being mixed with it."""


Node: TypeAlias = Leaf | Items | Branch


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings, under their effective keys."""

    kind: LayerKind
    root: Branch


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that a terminal would act on: file content may be hostile."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def split_key(key: str) -> KeyPath | None:
    """Return the names of a dotted key, or ``None`` when it is not one. A name with a dot in it stands in double quotes."""
    names: list[str] = []
    position = 0
    while match := _KEY_PART.match(key, position):
        names.append(match[2] if match[1] is None else re.sub(r"\\(.)", r"\1", match[1]))
        position = match.end()
        if position == len(key):
            return tuple(names)
        if key[position] != ".":
            return None
        position += 1
    return None


def join_key(path: KeyPath) -> str:
    """Return the dotted key that :func:`split_key` takes apart."""
    return ".".join(
        name if _BARE_NAME.fullmatch(name) else '"' + re.sub(r'(["\\])', r"\\\1", name) + '"' for name in path
    )


def plain(node: Node) -> JsonValue:
    """Return the values without their places."""
    match node:
        case Leaf():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Branch():
            return {name: plain(child) for name, child in node.children.items()}


def child(node: Node | None, *path: str) -> Node | None:
    """Return the node below ``node``, or ``None`` where there is none."""
    for name in path:
        if not isinstance(node, Branch):
            return None
        node = node.children.get(name)
    return node


def value_at(node: Node | None, *path: str) -> JsonValue:
    """Return the value of the leaf that stands there; ``None`` where there is none."""
    leaf = child(node, *path)
    return leaf.value if isinstance(leaf, Leaf) else None


def key_place(branch: Branch, name: str) -> Place:
    """Return where the name stands; the branch's own place when that is not known."""
    return branch.keys.get(name, branch.place)


def placed(root: Branch, path: KeyPath) -> Place:
    """Return the place of the value at ``path``, or of the nearest thing above it that is there."""
    node: Node = root
    for name in path:
        below = child(node, name)
        if below is None:
            break
        node = below
    return node.place


def with_child(root: Branch, path: KeyPath, node: Node) -> Branch:
    """Return ``root`` with ``node`` at ``path``; what stood there is replaced, maps on the way are made."""
    name, *rest = path
    below = root.children.get(name)
    if rest:
        inner = below if isinstance(below, Branch) else Branch({}, node.place)
        node = with_child(inner, tuple(rest), node)
    return replace(root, children={**root.children, name: node}, keys={name: node.place, **root.keys})


def without(root: Branch, *path: str) -> Branch:
    """Return ``root`` without what stands at ``path``."""
    name, *rest = path
    below = root.children.get(name)
    if below is None:
        return root
    if not rest:
        return replace(root, children={other: node for other, node in root.children.items() if other != name})
    if not isinstance(below, Branch):
        return root
    return replace(root, children={**root.children, name: without(below, *rest)})


def leaves(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Leaf | Items]]:
    """Give every value below ``node`` with its path, in order."""
    if isinstance(node, Branch):
        for name, below in node.children.items():
            yield from leaves(below, (*path, name))
    else:
        yield path, node
