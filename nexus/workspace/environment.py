"""The variables of one command: what its record says, with every reference resolved now and for this command only."""

from __future__ import annotations

from nexus.models.services import ServiceSpec
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.records import plain_env, referenced_env


async def secret_environment(context: Context, record: WorkspaceRecord) -> dict[str, str]:
    """Return the variables whose values are written nowhere: not in the record, not in the instance.

    Plain values are part of the instance already.

    Raises:
        ConfigError: When a reference does not resolve.
    """
    references = referenced_env(record.env_vars)
    return context.stack.resolve_env(references) if references else {}


def service_environment(context: Context, service: ServiceSpec) -> tuple[dict[str, str], dict[str, str]]:
    """Return a service's variables: those that anybody may read, and those whose values are written nowhere.

    Raises:
        ConfigError: When a reference does not resolve.
    """
    references = referenced_env(service.env)
    return plain_env(service.env), context.stack.resolve_env(references) if references else {}
