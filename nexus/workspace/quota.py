"""How many workspaces there may be: counted where names are claimed, in one transaction that no other process can overtake."""

from __future__ import annotations

import os
import pwd

from nexus.config import LayerKind
from nexus.errors import QuotaExceeded
from nexus.models.workspace import WorkspaceRecord
from nexus.state import Claim
from nexus.workspace.context import Context


async def claim(context: Context, record: WorkspaceRecord) -> None:
    """Reserve a workspace's name, within the node's limits.

    Raises:
        AlreadyExists: When the name is taken.
        QuotaExceeded: When a limit is reached; says which, how many there are, and where it is set.
    """
    limits = context.settings.limits
    wanted = Claim(
        id=record.id,
        name=record.name,
        repository=record.repository.root,
        user=user_name(),
        backend=record.backend,
        created_at=record.created_at,
    )
    try:
        await context.registry.claim(
            wanted, max_per_user=limits.max_workspaces_per_user, max_total=limits.max_workspaces_total
        )
    except QuotaExceeded as error:
        raise _placed(context, error) from error


def user_name() -> str:
    """Return the name of the user who runs this process; the number where the system knows no name.

    By the user's id, not by ``USER``: a variable that anybody sets must not open another account.
    """
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _placed(context: Context, error: QuotaExceeded) -> QuotaExceeded:
    setting = f"limits.{error.details['setting']}"
    places = [entry.place for entry in context.stack.explain(setting).layers if entry.layer is LayerKind.NODE]
    where = places[-1] if places else "the node's file"
    return QuotaExceeded(
        f"{error.message} ({where}: '{setting}')",
        hint=error.hint,
        details={**error.details, "setting": setting, "place": where},
    )
