"""Images that a backend built on the way to a workspace, and that it can build again."""

from __future__ import annotations

from datetime import datetime

from nexus.models.base import Model


class BuiltImage(Model):
    """One of them."""

    name: str
    made_at: datetime
    """When it was built, or built anew from what was cached."""
    size: int
    """Bytes that it holds, those of the image that it was made from included."""
    used: bool
    """Whether a container is made from it, running or not."""
