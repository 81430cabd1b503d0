"""Observers of what happens. They are told by events and can never hurt the operation that sent them."""

from __future__ import annotations

from nexus.telemetry.bus import EventBus

__all__ = ["EventBus"]
