"""Prebuilt images: what the scripts of a project come to, kept so that new workspaces need not run them again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from nexus.models.base import Model

LABEL_PREBUILD: str = "dev.nexus.prebuild"
"""Label of such an image, and of the workspace that one is being made in: its key."""


class Prebuild(Model):
    """A prebuilt image."""

    key: str
    """A digest of everything that it depends on."""
    image: str
    """Its id on the backend."""
    made_at: datetime
    size: int
    """Bytes that it holds, those of the image that it was made from included."""
    holds: tuple[str, ...] = ()
    """Scripts whose result it is."""
    tree: str = ""
    """The git tree that it was made from."""
    declared: bool = False
    """Whether the configuration said what the result depends on."""
    portable: bool = False
    """Whether the result can stand in for the scripts in another tree: nothing of it is missing, nothing names the tree it was made in."""
    labels: Mapping[str, str] = {}


class PrebuildOutcome(Model):
    """What a call of ``prebuild`` came to."""

    action: Literal["made", "there", "nothing"]
    """Whether it was made, was there already, or there is nothing that could be prebuilt."""
    prebuild: Prebuild | None = None
    reason: str = ""
    """Why there is nothing, or why its scripts run again in each workspace."""
    inputs: tuple[str, ...] = ()
    """The files that it depends on."""
    seconds: float = 0.0
