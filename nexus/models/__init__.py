"""Frozen values and identifiers. No I/O here, and nothing that lives longer than a call."""

from __future__ import annotations
