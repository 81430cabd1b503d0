"""Frozen values and identifiers. No I/O here, and nothing that lives longer than a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.models import checkpoints, explained

__getattr__, __dir__ = on_first_use(__name__, {"nexus.models": ["checkpoints", "explained"]})

__all__ = ["checkpoints", "explained"]
