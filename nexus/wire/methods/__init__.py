"""The table of all methods: the one place that dispatcher, client, OpenRPC document and reference page are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.wire.methods import (
        checkpoints,
        events,
        exec_results,
        execs,
        files,
        git,
        ports,
        session,
        settings,
        streams,
        terminals,
        workspaces,
    )
    from nexus.wire.methods.catalogue import METHODS, NOTICES

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.wire.methods": [
            "checkpoints",
            "events",
            "exec_results",
            "execs",
            "files",
            "git",
            "ports",
            "session",
            "settings",
            "streams",
            "terminals",
            "workspaces",
        ],
        "nexus.wire.methods.catalogue": ["METHODS", "NOTICES"],
    },
)

__all__ = [
    "METHODS",
    "NOTICES",
    "checkpoints",
    "events",
    "exec_results",
    "execs",
    "files",
    "git",
    "ports",
    "session",
    "settings",
    "streams",
    "terminals",
    "workspaces",
]
