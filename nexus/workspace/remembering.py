"""Noting what was destroyed, so that it can be listed and brought back for a while."""

from __future__ import annotations

from datetime import UTC, datetime

from nexus.models.rescues import DestroyedWorkspace, stamp
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context


def restore_command(name: str, moment: datetime) -> str:
    """Return the command that brings back what was destroyed then."""
    return f"boulder ws restore {name} --at {stamp(moment)}"


async def remember(
    context: Context, record: WorkspaceRecord, *, tip: str | None, rescued: str | None
) -> DestroyedWorkspace:
    """Keep the branch's tip and note everything that a restore needs. May be called twice."""
    for entry in await context.destroyed.load_all():
        if entry.id == record.id and entry.rescued == rescued and entry.tip == tip:
            return entry
    now = datetime.now(UTC)
    ref = None if tip is None else await context.worktrees.keep_tip(record.name, record.id, tip)
    entry = DestroyedWorkspace(
        id=record.id,
        name=record.name,
        display_name=record.display_name,
        backend=record.backend,
        # An image that was built from the project's own file is built again, from that file as it is then.
        image=None if record.config.get("dockerfile") else record.image,
        branch=record.branch,
        isolation=record.isolation,
        tip=tip,
        ref=ref,
        rescued=rescued,
        labels=record.labels,
        created_at=record.created_at,
        destroyed_at=now,
        restore=restore_command(record.name, now),
    )
    await context.destroyed.save(entry)
    return entry
