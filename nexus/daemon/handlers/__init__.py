"""What carries out each method: one small module for each group."""

from __future__ import annotations

from nexus.daemon.call import Routes
from nexus.daemon.handlers import (
    checkpoints,
    execs,
    files,
    files_live,
    git,
    ports,
    session,
    settings,
    terminals,
    workspaces,
)


def all_routes() -> Routes:
    """Return every method that is carried out."""
    routes = Routes()
    for group in (session, workspaces, checkpoints, files, files_live, execs, terminals, ports, git, settings):
        routes.add(group.ROUTES)
    session.describe(routes)
    return routes
