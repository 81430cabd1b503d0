"""What comes back with a workspace that was stopped while things ran in it."""

from __future__ import annotations

from nexus.models.workspace import LeftRunning, WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.hook_plan import planned


def left_running(context: Context, record: WorkspaceRecord) -> LeftRunning:
    """Return what runs in a workspace that is about to be stopped, and comes back when it is started."""
    return LeftRunning(
        at=context.clock.now(),
        terminals=context.terminals.running(record.id),
        services=tuple(service.name for service in record.services),
        scripts=tuple(str(each.hook.name) for each in planned(context.stack, record)),
    )
