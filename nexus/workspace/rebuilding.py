"""A damaged record is made again from what is really there: the worktree, the claim, the leases, the instance."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio

from nexus.errors import NexusError, StateError
from nexus.git import Worktree
from nexus.models.ids import WorkspaceId, parse_name
from nexus.models.instances import LABEL_NAME, LABEL_NODE, LABEL_REPOSITORY, InstanceState, InstanceStatus
from nexus.models.ports import PortMapping
from nexus.models.workspace import DamagedRecord, WorkspaceRecord, WorkspaceStatus
from nexus.state import Claim
from nexus.workspace.context import Context
from nexus.workspace.records import provider_options
from nexus.workspace.services_plan import port_requests, resolve_mounts, resolve_services

_STATUS = {InstanceState.RUNNING: WorkspaceStatus.RUNNING, InstanceState.PAUSED: WorkspaceStatus.PAUSED}


async def rebuild(context: Context, damaged: DamagedRecord) -> str:
    """Write the record anew, or remove it when nothing of the workspace is left. The damaged file is kept beside it.

    Returns:
        What was done, as a clause.

    Raises:
        StateError: When what is there is not enough to know the workspace's id.
    """
    name = parse_name(damaged.name)
    async with context.workspace_lock(name, f"rebuilding {name}"):
        tree = await context.worktrees.get(name)
        claim = next(
            (c for c in await context.registry.claims(repository=context.repository.root) if c.name == name), None
        )
        backend, status = await _instance(context, name, claim)
        await _set_aside(damaged)
        if tree is None and claim is None and status is None:
            return "nothing of it was left, so the record was set aside"
        identifier = _identity(damaged, tree, claim, status)
        await context.store.save(
            await _record(context, name, identifier, tree=tree, claim=claim, backend=backend, status=status)
        )
    return "rebuilt from its worktree, its claim and its instance"


async def _instance(context: Context, name: str, claim: Claim | None) -> tuple[str, InstanceStatus | None]:
    labels = {LABEL_NODE: context.node, LABEL_REPOSITORY: str(context.repository.root), LABEL_NAME: name}
    for backend in [claim.backend] if claim else context.providers.names():
        try:
            provider = await context.provider(backend)
            found = await provider.list(labels)
        except NexusError:
            continue
        if found:
            return backend, found[0]
    return (claim.backend if claim else context.settings.backend), None


def _identity(
    damaged: DamagedRecord, tree: Worktree | None, claim: Claim | None, status: InstanceStatus | None
) -> WorkspaceId:
    if claim is not None:
        return claim.id
    if status is not None:
        return status.ref.id
    reason = tree.lock if tree is not None else None
    if reason and reason.startswith("nexus:"):
        return WorkspaceId(reason.removeprefix("nexus:"))
    raise StateError(
        f"there is not enough left of {damaged.name!r} to rebuild its record", hint=f"look at {damaged.path}"
    )


async def _record(
    context: Context,
    name: str,
    identifier: WorkspaceId,
    *,
    tree: Worktree | None,
    claim: Claim | None,
    backend: str,
    status: InstanceStatus | None,
) -> WorkspaceRecord:
    now = datetime.now(UTC)
    settings = context.settings
    worktree = context.worktrees.path(parse_name(name))
    rows = {row.purpose: row for row in await context.registry.leases(identifier)}
    mappings = tuple(
        PortMapping(
            name=request.name,
            protocol=request.protocol,
            container_port=request.container,
            host_port=rows[request.name].port,
            visibility=request.visibility,
            fixed=rows[request.name].fixed,
        )
        for request in port_requests(settings)
        if request.name in rows
    )
    return WorkspaceRecord(
        id=identifier,
        name=parse_name(name),
        status=_STATUS.get(status.state, WorkspaceStatus.STOPPED) if status else WorkspaceStatus.STOPPED,
        status_message="rebuilt after its record was damaged",
        backend=backend,
        backend_config=provider_options(settings, backend),
        repository=context.repository,
        branch=tree.branch if tree and tree.branch else context.worktrees.branch(parse_name(name)),
        # Who made the branch is no longer known, so it is never deleted.
        branch_created=False,
        base_commit=None,
        worktree_path=worktree,
        isolation=tree.isolation if tree else "worktree",
        resources=settings.resources,
        ports={mapping.name: mapping.host_port for mapping in mappings},
        port_mappings=status.ports if status and status.ports else mappings,
        container_id=status.ref.handle if status else None,
        image=settings.image,
        env_vars=dict(settings.env),
        declared_volumes=resolve_mounts(settings.volumes, worktree=worktree, identifier=identifier),
        services=resolve_services(settings.services, worktree=worktree, identifier=identifier),
        created_at=claim.created_at if claim else now,
        updated_at=now,
        last_active=now,
        process_state=status.process if status else None,
    )


async def _set_aside(damaged: DamagedRecord) -> None:
    path = anyio.Path(damaged.path)
    aside = path.with_suffix(f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    try:
        await path.rename(aside)
    except OSError as error:
        raise StateError(f"the damaged record {path} cannot be moved aside: {error}") from error
