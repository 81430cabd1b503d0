"""Settings as a service tells of them: values alone, which can be sent anywhere."""

from __future__ import annotations

from nexus.config import ConfigStack
from nexus.models.explained import SettingExplained, SettingLayer


def explained(stack: ConfigStack, key: str) -> SettingExplained:
    """Return why a setting has its value, secrets hidden.

    Raises:
        ConfigError: When there is no such key.
    """
    found = stack.explain(key)
    return SettingExplained(
        key=found.key,
        value=found.value,
        winner=None if found.winner is None else found.winner.value,
        layers=tuple(
            SettingLayer(layer=one.layer.value, place=one.place, value=one.value, wins=one.wins, note=one.note)
            for one in found.layers
        ),
        notes=found.notes,
        text=str(found),
    )
