"""How far work on a workspace has come: told to its caller, and to everybody who watches."""

from __future__ import annotations

from nexus.abc import ProgressCallback
from nexus.models.events import Progress
from nexus.models.workspace import WorkspaceRecord
from nexus.telemetry import EventBus


def reporter(bus: EventBus, record: WorkspaceRecord, progress: ProgressCallback | None) -> ProgressCallback:
    """Return a callback that tells the caller and every subscriber."""

    def report(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        if progress is not None:
            progress(step, message, done, total)
        bus.publish(Progress(workspace=record.id, name=record.name, step=step, message=message, done=done, total=total))

    return report
