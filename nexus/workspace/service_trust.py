"""Which services would run programs of a clone's choosing on this host, and the approval that takes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nexus.config import ConfigStack
from nexus.models.services import ServiceSpec
from nexus.models.trust import TrustItem
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.trust import FOREIGN, isolates, require


def service_items(stack: ConfigStack, record: WorkspaceRecord | None = None) -> tuple[TrustItem, ...]:
    """Return what a user would have to approve of the services of a project, or of one of its workspaces.

    Nothing for a service of which the project's file says nothing. A record may come with a clone, too: what it says beyond
    the configuration is foreign.

    Args:
        stack: The configuration.
        record: The workspace.
    """
    configured = {service.name: _content(service) for service in stack.settings.services}
    services: Sequence[ServiceSpec] = stack.settings.services if record is None else record.services
    items: list[TrustItem] = []
    for service in services:
        content = _content(service)
        if content != configured.get(service.name):
            items.append(TrustItem(kind=_kind(service), where="the workspace's own settings", content=content))
        elif (place := stack.written(f"services.{service.name}", FOREIGN)) is not None:
            items.append(TrustItem(kind=_kind(service), where=place, content=content))
    return tuple(items)


async def check(context: Context, record: WorkspaceRecord, *, new: bool = False) -> None:
    """Raise ``NotTrusted`` before anything is started when a service would run on this host and is not approved.

    Args:
        context: The parts.
        record: The workspace.
        new: Whether it is being asked for now: services that it alone is given come from whoever asks, and are approved by that.
    """
    items = service_items(context.stack, record)
    if not items or await isolates(context, record.backend):
        return
    if new:
        theirs = set(service_items(context.stack))
        await context.approvals.approve(context.repository.root, [item for item in items if item not in theirs])
    await require(context, items, command=f"boulder trust{'' if new else f' {record.name}'}")


def _kind(service: ServiceSpec) -> str:
    return f"service {service.name}"


def _content(service: ServiceSpec) -> str:
    """Return everything that decides what runs, as text that people can read."""
    what = {
        "command": service.command,
        "entrypoint": service.entrypoint,
        "env": dict(service.env),
        "healthcheck": service.healthcheck.test if service.healthcheck is not None else None,
        "working_dir": service.working_dir,
        "restart": service.restart if service.restart != "no" else None,
    }
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in what.items() if value)
