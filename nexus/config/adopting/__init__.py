"""What projects already have: dev containers and compose files, read as the layer of a project that has no file of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.config.adopting.candidates import Kind, find_adoptable
    from nexus.config.adopting.found import Adopted, adopt
    from nexus.config.adopting.sheet import Unsupported

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.config.adopting.candidates": ["Kind", "find_adoptable"],
        "nexus.config.adopting.found": ["Adopted", "adopt"],
        "nexus.config.adopting.sheet": ["Unsupported"],
    },
)

__all__ = ["Adopted", "Kind", "Unsupported", "adopt", "find_adoptable"]
