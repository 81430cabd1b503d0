"""What a service says of itself to those who have just come."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from nexus.models.features import Features


@runtime_checkable
class SupportsFeatures(Protocol):
    """A service that knows what it can do."""

    async def features(self) -> Features:
        """Return what it can do here and now; no backend is asked, nothing is loaded."""
