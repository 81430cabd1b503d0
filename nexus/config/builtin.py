"""The lowest layer: what holds when nobody says anything."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from nexus.config.assignments import tree_of
from nexus.config.layers import Branch, KeyPath, Layer, LayerKind, Place

PLACE: Final = Place("built-in")

_MEDIUM: Final[JsonValue] = {
    "cpu": {"cores": 2.0, "limit": None},
    "memory": {"bytes": 4 << 30, "limit": None, "swap": None},
    "storage": {"bytes": 50 << 30, "ephemeral": None},
}
_DEFAULTS: Final[JsonValue] = {
    "defaults": {
        "backend": "docker",
        "idle_timeout": "30m",
        "stop_after": "4h",
        "stop_below": 256 << 20,
        "switch": "pause",
        "image": "nexus-workspace:latest",
        "resources": _MEDIUM,
        "keep_destroyed": "14d",
        "git_identity": True,
        "isolation": "worktree",
        "worktree_include_max": 1 << 30,
    },
    "backends": {
        "docker": {"network": "nexus-workspace", "stop_grace": "10s"},
        "local": {"stop_grace": "10s"},
        "sprite": {"api_endpoint": "https://api.sprites.dev"},
    },
    "limits": {"max_hold": "1d"},
    "multi_user": {"enabled": False, "auth": {"method": "unix"}},
    "daemon": {"port": 8080, "host": "127.0.0.1", "drain": "10s", "log_size": 10 << 20, "log_files": 3},
    "preferences": {"theme": "auto", "telemetry": {"enabled": True, "share_friction_data": False}},
    "scripts": {"timeout": "10m"},
    "hooks": {"timeout": "1m"},
}
"""In the order and the spelling that :func:`nexus.config.validation.normalise` gives: every command needs them, so that they are not
parsed each time."""


@functools.cache
def built_in() -> Layer:
    """Return the built-in defaults."""
    tree = tree_of(_DEFAULTS, PLACE)
    root = tree if isinstance(tree, Branch) else Branch({}, PLACE)
    return Layer(LayerKind.BUILT_IN, _noted(root, ("defaults", "resources"), "medium"))


def _noted(root: Branch, path: KeyPath, note: str) -> Branch:
    """Return the tree with what stands at a path said to have been written as one word."""
    if not path:
        return replace(root, note=note)
    below = root.children[path[0]]
    changed = _noted(below, path[1:], note) if isinstance(below, Branch) else below
    return replace(root, children={**root.children, path[0]: changed})
