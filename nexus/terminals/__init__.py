"""Terminals that outlive whoever looks at them."""

from __future__ import annotations
