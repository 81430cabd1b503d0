"""How layers become one: maps merge, lists replace, scalars override, ``null`` removes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from nexus.config.layers import Branch, Layer, Leaf, Node, Place

NOWHERE = Place("nowhere")


def merge_nodes(low: Node, high: Node) -> Node:
    """Return ``low`` overridden by ``high``. A ``null`` stays in the result, so that it can remove; see :func:`prune`.

    Merging from low to high is the meaning. It is associative as long as no key is a map in one tree and a value or
    ``null`` in another: ``null`` removes what is below it, and a later map starts anew.
    """
    if not (isinstance(low, Branch) and isinstance(high, Branch)):
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
    return prune(reduce(merge_branches, (layer.root for layer in layers), Branch({}, NOWHERE)))
