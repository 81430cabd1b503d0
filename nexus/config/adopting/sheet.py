"""What a translation fills in: a project's tree under our keys, and a list of everything that has no counterpart here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from nexus.config.layers import Branch, Items, KeyPath, Leaf, Node, Place, child, key_place, with_child
from nexus.config.problems import Problems, quoted


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Something in an adopted file that nothing acts on, or that is taken over only in part. As text: ``file:line:column: sentence``."""

    key: str
    """The key as that file spells it: ``features``, ``services.db.networks``."""
    place: Place
    """Where it stands."""
    reason: str
    """Why, as the end of a sentence about the key."""
    hint: str | None = None
    """What to do instead, when there is something."""

    def __str__(self) -> str:
        return f"{self.place}: {quoted(self.key)} {self.reason}{f'; {self.hint}' if self.hint else ''}"


class Sheet:
    """One translation under way."""

    def __init__(self, problems: Problems, place: Place) -> None:
        self.problems = problems
        self.tree = Branch({}, place)
        self._unsupported: dict[Unsupported, None] = {}

    def put(self, path: KeyPath, value: JsonValue, place: Place, note: str | None = None) -> None:
        """Say a value. What was said for the key before is replaced.

        Args:
            path: The key, as a project's file spells it.
            value: Its value.
            place: Where the foreign file has it.
            note: How the foreign file spells it.
        """
        self.graft(path, leaf(value, place, note))

    def graft(self, path: KeyPath, node: Node) -> None:
        """Say everything that a node holds."""
        self.tree = with_child(self.tree, path, node)

    def said(self, *path: str) -> Node | None:
        """Return what was said for a key."""
        return child(self.tree, *path)

    def leave(self, key: str, place: Place, reason: str, hint: str | None = None) -> None:
        """List a key that nothing acts on. The same one twice counts once."""
        self._unsupported.setdefault(Unsupported(key, place, reason, hint))

    def unsupported(self) -> tuple[Unsupported, ...]:
        """Return what nothing acts on, file by file in the order read, each file from top to bottom."""
        rank = {
            source: index for index, source in enumerate(dict.fromkeys(one.place.source for one in self._unsupported))
        }
        return tuple(
            sorted(
                self._unsupported,
                key=lambda one: (rank[one.place.source], one.place.line or 0, one.place.column or 0),
            )
        )

    def wrong(self, key: str, node: Node, expected: str) -> None:
        """Report a value that cannot be what it should be."""
        self.problems.add(node.place, f"{quoted(key)} must be {expected}, not {kind_of(node)}")

    def text(self, key: str, node: Node) -> str | None:
        """Return a value that must be text; numbers and truth values as they were typed."""
        if isinstance(node, Leaf) and node.value is not None and not isinstance(node.value, list | dict):
            return node.value if isinstance(node.value, str) else typed(node)
        self.wrong(key, node, "text")
        return None

    def texts(self, key: str, node: Node) -> Iterator[tuple[str, str, Place]]:
        """Give key, text and place of each entry of a list of texts, or of one text."""
        entries = node.items if isinstance(node, Items) else (node,)
        for index, entry in enumerate(entries):
            name = f"{key}[{index}]" if isinstance(node, Items) else key
            if (text := self.text(name, entry)) is not None:
                yield name, text, entry.place

    def entries(self, key: str, node: Node) -> Iterator[tuple[str, Node, Place]]:
        """Give name, value and place of the name for each entry of what must be a map; ``null`` has none."""
        if isinstance(node, Branch):
            for name, below in node.children.items():
                yield name, below, key_place(node, name)
        elif not is_null(node):
            self.wrong(key, node, "a map")

    def items(self, key: str, node: Node) -> tuple[Node, ...]:
        """Return the entries of what must be a list; ``null`` has none."""
        if isinstance(node, Items):
            return node.items
        if not is_null(node):
            self.wrong(key, node, "a list")
        return ()


def leaf(value: JsonValue, place: Place, note: str | None = None) -> Node:
    """Return a value as a node; the entries of a list and the values of a map have places of their own."""
    match value:
        case list():
            return Items(tuple(leaf(item, place) for item in value), place)
        case dict():
            return Branch({name: leaf(below, place) for name, below in value.items()}, place, note=note)
        case _:
            return Leaf(value, place, note)


def is_null(node: Node | None) -> bool:
    """Return whether a node says nothing."""
    return node is None or (isinstance(node, Leaf) and node.value is None)


def typed(node: Leaf) -> str:
    """Return a scalar as it stands in its file."""
    if isinstance(node.value, bool):
        return node.text or str(node.value).lower()
    return node.text if node.text is not None else str(node.value)


def kind_of(node: Node) -> str:
    """Return what a value is, for a sentence; never the value, which may be a secret."""
    match node:
        case Branch():
            return "a map"
        case Items():
            return "a list"
        case Leaf(value=None):
            return "null"
        case Leaf(value=bool()):
            return "true or false"
        case Leaf(value=str()):
            return "text"
        case Leaf():
            return "a number"
