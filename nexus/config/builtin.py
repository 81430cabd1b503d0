"""The lowest layer: what holds when nobody says anything."""

from __future__ import annotations

import functools
from typing import Final

from nexus.config.assignments import tree_of
from nexus.config.layers import Branch, Layer, LayerKind, Place
from nexus.config.problems import Problems
from nexus.config.schema import Effective
from nexus.config.validation import normalise

PLACE: Final = Place("built-in")


@functools.cache
def built_in() -> Layer:
    """Return the built-in defaults."""
    tree = tree_of(
        {
            "defaults": {
                "backend": "docker",
                "idle_timeout": "30m",
                "stop_after": "4h",
                "stop_below": "256M",
                "switch": "pause",
                "git_identity": True,
                "image": "nexus-workspace:latest",
                "keep_destroyed": "14d",
                "resources": "medium",
                "isolation": "worktree",
                "worktree_include_max": "1G",
            },
            "backends": {
                "docker": {"network": "nexus-workspace", "stop_grace": "10s"},
                "local": {"stop_grace": "10s"},
                "sprite": {"api_endpoint": "https://api.sprites.dev"},
            },
            "daemon": {"host": "127.0.0.1", "port": 8080, "drain": "10s", "log_size": "10M", "log_files": 3},
            "limits": {"max_hold": "24h"},
            "multi_user": {"enabled": False, "auth": {"method": "unix"}},
            "scripts": {"timeout": "10m"},
            "hooks": {"timeout": "1m"},
            "preferences": {"theme": "auto", "telemetry": {"enabled": True, "share_friction_data": False}},
        },
        PLACE,
    )
    problems = Problems()
    layer = normalise(Effective, tree, problems) if isinstance(tree, Branch) else None
    problems.raise_any()
    return Layer(LayerKind.BUILT_IN, layer or Branch({}, PLACE))
