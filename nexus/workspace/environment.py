"""The variables of one command: what its record says, with every reference resolved now and for this command only."""

from __future__ import annotations

from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.records import referenced_env
from nexus.workspace.ssh_grant import ssh_environment


async def secret_environment(context: Context, record: WorkspaceRecord) -> dict[str, str]:
    """Return the variables whose values are written nowhere: not in the record, not in the instance.

    Plain values are part of the instance already.

    Raises:
        ConfigError: When a reference does not resolve.
    """
    references = referenced_env(record.env_vars)
    resolved = context.stack.resolve_env(references) if references else {}
    return {**ssh_environment(record), **resolved}
