"""What of the host, or of an engine's own storage, is seen inside."""

from __future__ import annotations

from typing import Literal

from nexus.models.base import Model


class VolumeMount(Model):
    """Something of the host that is seen inside."""

    source: str
    """A host path, or the name of a volume."""
    target: str
    """Absolute path inside."""
    kind: Literal["bind", "volume", "tmpfs"] = "bind"
    read_only: bool = False
