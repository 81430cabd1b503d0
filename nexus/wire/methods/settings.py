"""``config.*``: the effective configuration, secrets hidden."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from nexus.models.explained import SettingExplained
from nexus.wire.methods.table import Effect, Method, Params


class OfKey(Params):
    """A dotted key."""

    key: str


class Setting(Params):
    """Its value; ``None`` where there is none."""

    value: JsonValue


GET: Final = Method(
    "config.get", OfKey, Setting, Effect.READ, "config", "Return the effective value of a setting.", whole=True
)
EXPLAIN: Final = Method(
    "config.explain",
    OfKey,
    SettingExplained,
    Effect.READ,
    "config",
    "Return what every layer says about it, and who wins.",
    whole=True,
)
METHODS: Final = (GET, EXPLAIN)
