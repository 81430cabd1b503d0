"""The ``prebuild`` section: what a prebuilt image depends on, whether new workspaces begin from one, how long one is kept."""

from __future__ import annotations

from datetime import timedelta

from nexus.config.values import PositiveDuration, Text
from nexus.models.base import Model
from nexus.models.described import Described
from nexus.models.units import Duration


class PrebuildSection(Described):
    """Images that hold what `pre-start` and `post-create` come to; `boulder prebuild` makes them."""

    enabled: bool | None = None
    """Whether new workspaces begin from one that fits; true when absent."""
    inputs: tuple[Text, ...] | None = None
    """Files of the commit that the scripts' result depends on, as patterns of `.gitignore`; for example `[package-lock.json]`. Said so, the
    scripts are not run again where these are the same. When absent: lock files and the like, and the files that the scripts name."""
    keep_for: PositiveDuration | None = None
    """Time for which one that nothing fits any more is kept, and an image that was built and that no workspace needs; 14d when absent."""


class PrebuildSettings(Model):
    """What is configured about prebuilt images."""

    enabled: bool = True
    """Whether new workspaces begin from one that fits."""
    inputs: tuple[str, ...] = ()
    """Patterns of the files that the scripts' result depends on; empty: nobody has said, so they are guessed."""
    keep_for: Duration = timedelta(days=14)
    """How long one is kept that nothing fits any more."""
