"""Variables that a record refers to by ``env:NAME``: read only when a configuration of the user's, or the user's own call, said so.

A record may arrive with a clone, and a reference in it would read any variable of whoever opens it. So what the call that made a
workspace named is remembered outside the repository, among what the user has approved; and what the configuration says now needs
no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nexus.config import Settings
from nexus.errors import SecretRefused
from nexus.models.ids import WorkspaceId
from nexus.models.trust import TrustItem
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.records import referenced_env

_KIND = "variable"


def _item(workspace: WorkspaceId, name: str, key: str, value: str) -> TrustItem:
    where = f"the call that made workspace {name}"
    return TrustItem(kind=_KIND, where=where, content=f"{key}={value}\nfor workspace {workspace}")


def _references(record: WorkspaceRecord) -> Iterator[tuple[str, str, str | None]]:
    """Give every reference of a record: variable, what it refers to, and the service whose it is."""
    for key, value in referenced_env(record.env_vars).items():
        yield key, value, None
    for service in record.services:
        for key, value in referenced_env(service.env).items():
            yield key, value, service.name


def _path(key: str, service: str | None) -> str:
    return key if service is None else f"services.{service}.{key}"


def _said(settings: Settings, key: str, value: str, service: str | None) -> bool:
    env: Mapping[str, str] = settings.env
    if service is not None:
        env = next((spec.env for spec in settings.services if spec.name == service), {})
    return env.get(key) == value


async def remember(context: Context, record: WorkspaceRecord) -> None:
    """Remember what a creation was given by its caller and no file says. Called while that call is under way, never from a record.

    Raises:
        StateError: When it cannot be stored.
    """
    items = [
        _item(record.id, record.name, _path(key, service), value)
        for key, value, service in _references(record)
        if not _said(context.stack.settings, key, value, service)
    ]
    if items:
        await context.approvals.approve(context.repository.root, items)


async def inherit(context: Context, record: WorkspaceRecord, parent: WorkspaceRecord) -> None:
    """Remember for a fork what was remembered of the workspace that it is made from, and nothing that was not.

    Raises:
        StateError: When it cannot be read or stored.
    """
    pairs = [
        (_item(record.id, record.name, path, value), _item(parent.id, parent.name, path, value))
        for key, value, service in _references(record)
        if not _said(context.stack.settings, key, value, service) and (path := _path(key, service))
    ]
    refused = await context.approvals.unapproved(context.repository.root, [theirs for _, theirs in pairs])
    unknown = {item.digest for item in refused}
    items = [ours for ours, theirs in pairs if theirs.digest not in unknown]
    if items:
        await context.approvals.approve(context.repository.root, items)


async def forget(context: Context, record: WorkspaceRecord) -> None:
    """Forget what was remembered of a workspace that is destroyed.

    Raises:
        StateError: When it cannot be removed.
    """
    items = [_item(record.id, record.name, _path(key, service), value) for key, value, service in _references(record)]
    if items:
        await context.approvals.revoke(context.repository.root, [item.digest for item in items])


async def resolve(
    context: Context, record: WorkspaceRecord, env: Mapping[str, str], *, service: str | None = None
) -> dict[str, str]:
    """Return the values of the references in ``env``, which a record holds for its workspace or for one of its services.

    Raises:
        SecretRefused: When nobody but the record says that a variable may be read.
        ConfigError: When one is not set.
        StateError: When what was remembered cannot be read.
    """
    wanted = referenced_env(env)
    if not wanted:
        return {}
    unsaid = [
        _item(record.id, record.name, _path(key, service), value)
        for key, value in wanted.items()
        if not _said(context.stack.settings, key, value, service)
    ]
    refused = await context.approvals.unapproved(context.repository.root, unsaid)
    if refused:
        first = refused[0].lines()[0]
        raise SecretRefused(
            f"the record of workspace {record.name!r} refers to a variable of yours ({first}), and neither your configuration nor the "
            "call that made it says so",
            hint="if it is meant, write it into your own file: project_overrides.<project>.env",
            details={"name": record.name, "reference": first},
        )
    resolved = context.stack.resolve_env(wanted)
    context.secrets.note(resolved.values())
    return resolved
