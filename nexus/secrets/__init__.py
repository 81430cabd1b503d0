"""Secrets: where their values come from, how they are kept encrypted, and how they are kept out of everything else."""

from __future__ import annotations

from nexus.secrets.redaction import Redactor

__all__ = ["Redactor"]
