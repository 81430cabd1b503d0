"""What a daemon says that it can do, when somebody comes: what is always so, and what its service says of itself."""

from __future__ import annotations

from pydantic import JsonValue

from nexus.abc.features import SupportsFeatures
from nexus.abc.service import WorkspaceService
from nexus.models.features import Features
from nexus.models.instances import Capability


async def capabilities(service: WorkspaceService, *, text_only: bool) -> dict[str, JsonValue]:
    """Return the ``capabilities`` of the answer to ``initialize``. Where a service does not say, nothing is said.

    Args:
        service: What is served.
        text_only: Whether streams go to this client as text.
    """
    features = await service.features() if isinstance(service, SupportsFeatures) else None
    return {
        "binaryFrames": not text_only,
        "textFrames": True,
        "progress": True,
        "fs": {"stream": True, **({} if features is None else _files(features))},
        "exec": {"resume": True, "stdinOffsets": True},
        "terminal": {"inputOffsets": True, **({} if features is None else _terminals(features))},
        "ports": {"connect": True},
        "telemetry": False,
        "workspace": {} if features is None else _workspaces(features),
    }


def _files(features: Features) -> dict[str, JsonValue]:
    return {"watch": str(features.watch), "search": features.search}


def _terminals(features: Features) -> dict[str, JsonValue]:
    keeping = [name for name, able in sorted(features.backends.items()) if able and Capability.KEEPING in able]
    return {"keptBy": [*keeping]}


def _workspaces(features: Features) -> dict[str, JsonValue]:
    return {"backends": {name: _able(able) for name, able in sorted(features.backends.items())}}


def _able(able: frozenset[Capability] | None) -> list[JsonValue] | None:
    return None if able is None else [*sorted(map(str, able))]
