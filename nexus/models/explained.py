"""Settings as the service tells of them: the value, and where it comes from. Secrets are hidden."""

from __future__ import annotations

from pydantic import JsonValue

from nexus.models.base import Model


class SettingLayer(Model):
    """What one layer of the configuration says about a setting."""

    layer: str
    """``built-in``, ``node``, ``user``, ``project``, ``project_overrides``, ``flags`` or ``environment``."""
    place: str
    """``file:line:column``, ``flag --set``, ``env NEXUS_IMAGE`` or ``built-in``."""
    value: JsonValue
    """``None`` where the layer removes the setting."""
    wins: bool
    """Whether the result holds this value, for a map any part of it."""
    note: str | None = None
    """The spelling in the file, where it is another."""


class SettingExplained(Model):
    """Why a setting has its value."""

    key: str
    value: JsonValue
    """The effective value; ``None`` where there is none."""
    winner: str | None
    """The highest layer that the value comes from; ``None`` where no layer says anything."""
    layers: tuple[SettingLayer, ...]
    """Every layer that says something, from low to high."""
    notes: tuple[str, ...] = ()
    text: str
    """All of it as a table for people."""
