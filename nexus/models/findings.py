"""What an examination of the machine and a repository's workspaces found."""

from __future__ import annotations

from typing import Literal

from nexus.models.base import Model


class Finding(Model):
    """One thing that was looked at."""

    check: str
    """What was looked at: ``git``, ``docker``, ``journal``, ``ports`` …"""
    level: Literal["ok", "info", "warning", "error"]
    """``info`` is worth knowing and nothing to worry about; ``warning`` is wrong and harmless for now, or was put right;
    ``error`` needs somebody."""
    message: str
    """One sentence."""
    hint: str | None = None
    """The next step."""
    fixed: bool = False
    """Whether this call put it right."""
