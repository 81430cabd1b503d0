"""All methods and notices, by their names."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, cast

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
from nexus.wire.methods.table import AnyMethod, Notice, Params, Table

_GROUPS: Final = (session, events, workspaces, checkpoints, files, execs, exec_results, terminals, ports, git, settings)

METHODS: Final[Table] = MappingProxyType(
    {method.name: cast("AnyMethod", method) for group in _GROUPS for method in group.METHODS}
)
"""Every method by its name."""

NOTICES: Final = MappingProxyType(
    {
        notice.name: cast("Notice[Params]", notice)
        for group in (session, events, files, execs, terminals, streams)
        for notice in group.NOTICES
    }
)
"""Every notification that the daemon sends, by its name."""
