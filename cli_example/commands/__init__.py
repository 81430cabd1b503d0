"""The commands, by group. Each is at most fifteen lines over the public API."""

from __future__ import annotations
