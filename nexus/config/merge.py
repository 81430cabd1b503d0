"""How layers become one: maps merge, lists replace, scalars override, ``null`` removes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from typing import Final

from nexus.config.layers import Branch, KeyPath, Layer, LayerKind, Leaf, Node, Place, child, with_child

NOWHERE = Place("nowhere")

ADDED_UP: Final[tuple[KeyPath, ...]] = (("defaults", "precious"), ("secrets", "env_files"), ("secrets", "allow"))
"""Lists that the layers' files share: a project may name more, and takes nothing away from what its user named."""


_REPLACING: Final = frozenset({LayerKind.FLAGS, LayerKind.ENVIRONMENT})


def merge_nodes(low: Node, high: Node) -> Node:
    """Return ``low`` overridden by ``high``. A ``null`` stays in the result, so that it can remove; see :func:`prune`.

    Merging from low to high is the meaning. It is associative as long as no key is a map in one tree and a value or
    ``null`` in another: ``null`` removes what is below it, and a later map starts anew.
    """
    if not (isinstance(low, Branch) and isinstance(high, Branch)) or high.whole:
        return high
    children = dict(low.children)
    for name, node in high.children.items():
        children[name] = merge_nodes(children[name], node) if name in children else node
    return Branch(children, high.place if high.children else low.place, keys={**low.keys, **high.keys}, note=high.note)


def merge_branches(low: Branch, high: Branch) -> Branch:
    """Return ``low`` overridden by ``high``, both maps."""
    merged = merge_nodes(low, high)
    return merged if isinstance(merged, Branch) else high


def prune(root: Branch) -> Branch:
    """Return ``root`` without the keys that ``null`` removes."""
    children: dict[str, Node] = {}
    for name, node in root.children.items():
        if isinstance(node, Branch):
            children[name] = prune(node)
        elif not (isinstance(node, Leaf) and node.value is None):
            children[name] = node
    return replace(root, children=children)


def merge_layers(layers: Iterable[Layer]) -> Branch:
    """Return all layers, given from low to high, as one tree without removed keys."""
    layers = tuple(layers)
    merged = prune(reduce(merge_branches, (layer.root for layer in layers), Branch({}, NOWHERE)))
    for path in ADDED_UP:
        total = _added_up(layers, path)
        if total is not None:
            merged = with_child(merged, path, total)
    return merged


def _added_up(layers: Iterable[Layer], path: KeyPath) -> Leaf | None:
    """Return a list with the entries of all files; flags and environment replace it. ``None``: nobody says anything."""
    total: Leaf | None = None
    for layer in layers:
        node = child(layer.root, *path)
        if not isinstance(node, Leaf):
            continue
        if not isinstance(node.value, list):
            total = total if layer.kind is LayerKind.PROJECT else None
        elif total is None or not isinstance(total.value, list) or layer.kind in _REPLACING:
            total = node
        elif more := [item for item in node.value if item not in total.value]:
            total = Leaf([*total.value, *more], node.place, note="added to what lower layers name")
    return total
