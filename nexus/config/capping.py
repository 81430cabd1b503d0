"""What a workspace is given when nobody asked for anything: never more than the node allows.

A value that somebody wrote and that exceeds the node's maximum, also by the name of a class, is an error that names both places.
The built-in default was asked for by nobody, so it gives way: as a layer of its own above it, which ``explain`` shows with the place of
the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nexus.config.layers import Branch, KeyPath, Layer, LayerKind, Leaf, child, with_child

_MAXIMA: Final[KeyPath] = ("limits", "max_resources")
_DEFAULT: Final[KeyPath] = ("defaults", "resources")
_AMOUNTS: Final = {"cpu": "cores", "memory": "bytes", "storage": "bytes"}


def capped(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers with one more above the built-in defaults, where those exceed what the node's file allows.

    Args:
        layers: The layers, from low to high.
    """
    built_in, node = layers[0], next((layer for layer in layers if layer.kind is LayerKind.NODE), None)
    if node is None:
        return list(layers)
    cap = Branch({}, node.root.place)
    for kind, name in _AMOUNTS.items():
        most, given = child(node.root, *_MAXIMA, kind), child(built_in.root, *_DEFAULT, kind, name)
        if isinstance(most, Leaf) and isinstance(given, Leaf) and _exceeds(given.value, most.value):
            leaf = Leaf(most.value, most.place, note=f"limits.max_resources.{kind}")
            cap = with_child(cap, (*_DEFAULT, kind, name), leaf)
    if not cap.children:
        return list(layers)
    return [built_in, Layer(LayerKind.NODE, cap), *layers[1:]]


def _exceeds(given: object, most: object) -> bool:
    return isinstance(given, int | float) and isinstance(most, int | float) and given > most
