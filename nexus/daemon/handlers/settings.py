"""``config.*``: handed on to the service, which hides secrets."""

from __future__ import annotations

from typing import Final

from nexus.daemon.call import Call, Routes
from nexus.models.explained import SettingExplained
from nexus.wire.methods import settings as methods

ROUTES: Final = Routes()


@ROUTES.on(methods.GET)
async def get(call: Call, params: methods.OfKey) -> methods.Setting:
    """Return a value."""
    return methods.Setting(value=await call.service.setting(params.key))


@ROUTES.on(methods.EXPLAIN)
async def explain(call: Call, params: methods.OfKey) -> SettingExplained:
    """Return where it comes from."""
    return await call.service.explain(params.key)
