"""Sections that are read and checked, so that a mistake shows at once, but that nothing acts on yet.

:data:`DORMANT` names them; loading a file that uses one gives a warning that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nexus.config.layers import KeyPath

DORMANT: Final[tuple[KeyPath, ...]] = (
    ("backends", "sprite"),
    ("backends", "kubernetes"),
)
"""Keys, as a file spells them, that are accepted but not acted on yet."""

BECAUSE: Final[Mapping[KeyPath, str]] = {
    ("backends", "sprite"): "is checked, but this version has no driver for that backend",
    ("backends", "kubernetes"): "is checked, but this version has no driver for that backend",
}
"""What is said of some of them; of the others that they are accepted but not acted on yet."""
