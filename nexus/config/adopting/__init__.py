"""What projects already have: dev containers and compose files, read as the layer of a project that has no file of ours."""

from __future__ import annotations

from nexus.config.adopting.found import Adopted, Kind, adopt, find_adoptable
from nexus.config.adopting.sheet import Unsupported

__all__ = ["Adopted", "Kind", "Unsupported", "adopt", "find_adoptable"]
