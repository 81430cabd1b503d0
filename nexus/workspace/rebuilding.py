"""A record that is damaged or lost is made again from what is really there: the worktree, the claim, the leases, the instance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import anyio

from nexus.abc import SupportsDescription
from nexus.errors import NexusError, StateError
from nexus.git import Worktree
from nexus.models.ids import WorkspaceId, WorkspaceName, parse_name
from nexus.models.instances import (
    LABEL_NAME,
    LABEL_NODE,
    LABEL_REPOSITORY,
    InstanceDescription,
    InstanceState,
    InstanceStatus,
)
from nexus.models.ports import PortMapping
from nexus.models.workspace import DamagedRecord, WorkspaceRecord, WorkspaceStatus
from nexus.state import Claim
from nexus.workspace.context import Context
from nexus.workspace.creation_begin import told_identity
from nexus.workspace.own_records import ID
from nexus.workspace.records import provider_options, settings_of, users_labels
from nexus.workspace.refilling import claim_of
from nexus.workspace.services_plan import port_requests, resolve_mounts, resolve_services
from nexus.workspace.ssh_grant import unknown_grant

_STATUS = {InstanceState.RUNNING: WorkspaceStatus.RUNNING, InstanceState.PAUSED: WorkspaceStatus.PAUSED}
_LOCKED = "nexus:"
_OURS = ("GIT_CONFIG_", "NEXUS_WORKSPACE")
"""What variables begin with that are made anew for every instance."""


class Remains(NamedTuple):
    """What is left of a workspace without its record."""

    name: WorkspaceName
    backend: str
    tree: Worktree | None
    claim: Claim | None
    status: InstanceStatus | None

    @property
    def identity(self) -> WorkspaceId | None:
        """The workspace's id, by whoever knows it."""
        return _promised(self.tree, self.claim) or (self.status.ref.id if self.status is not None else None)


async def rebuild(context: Context, damaged: DamagedRecord, *, without: Collection[str] = ()) -> str:
    """Write the record anew, or remove it when nothing of the workspace is left. The damaged file is kept beside it.

    Args:
        context: The repository.
        damaged: The record.
        without: Backends that need not be asked: they do not answer.

    Returns:
        What was done, as a clause.

    Raises:
        StateError: When what is there is not enough to know the workspace's id.
    """
    name = parse_name(damaged.name)
    async with context.locks.workspace(name, f"rebuilding {name}"):
        found = await remains(context, name, without=without)
        await _set_aside(damaged)
        if found.tree is None and found.claim is None and found.status is None:
            return "nothing of it was left, so the record was set aside"
        if found.identity is None:
            raise StateError(
                f"there is not enough left of {name!r} to rebuild its record", hint=f"look at {damaged.path}"
            )
        await _write(context, found, found.identity, "rebuilt after its record was damaged")
    return "rebuilt from its worktree, its claim and its instance"


async def adopt(context: Context, name: str, *, without: Collection[str] = ()) -> bool:
    """Write a record for a workspace that has lost it. Nothing is written for one that holds no work and has no place.

    Returns:
        Whether a record was written.
    """
    async with context.locks.workspace(parse_name(name), f"rebuilding {name}"):
        found = await remains(context, parse_name(name), without=without)
        if name in await context.store.names() or not await worth_keeping(context, found) or found.identity is None:
            return False
        await _write(context, found, found.identity, "rebuilt after its record was lost")
    return True


async def lost(context: Context, *, without: Collection[str] = ()) -> tuple[Remains, ...]:
    """Return what is left of workspaces whose record is gone and that are worth one: those with unsaved work, or with a place."""
    recorded = await context.store.names()
    found = [
        await remains(context, parse_name(tree.name), without=without)
        for tree in await context.worktrees.list()
        if tree.name not in recorded
    ]
    return tuple([each for each in found if await worth_keeping(context, each)])


async def worth_keeping(context: Context, found: Remains) -> bool:
    """Say whether somebody may miss it: it holds work that is nowhere else, or its tree is there and has a place to run in.

    Something that no clone can carry along has to vouch for it: git's entry, a claim, an instance. A tree and a note in ``.nexus`` can be
    files of a hostile repository.
    """
    if found.tree is None or found.identity is None:
        return False
    entry = found.tree.registered and found.tree.isolation == "worktree"
    if not entry and found.claim is None and found.status is None:
        return False
    return (found.tree.present and found.status is not None) or not (await context.worktrees.report(found.name)).clean


async def remains(context: Context, name: WorkspaceName, *, without: Collection[str] = ()) -> Remains:
    """Look for everything that belongs to a name."""
    tree = await context.worktrees.get(name)
    claims = await context.registry.claims(repository=context.repository.root)
    claim = next((each for each in claims if each.name == name), None)
    labels = {LABEL_REPOSITORY: str(context.repository.root), LABEL_NAME: name}
    promised = _promised(tree, claim)
    for backend in [claim.backend] if claim else context.backends.names():
        for status in await _listed(context, backend, labels) if backend not in without else ():
            # By its id where that is known: a registry that was lost may have another node's id since.
            if status.ref.id == promised or (promised is None and status.labels.get(LABEL_NODE) == context.node):
                return Remains(name, backend, tree, claim, status)
    return Remains(name, claim.backend if claim else context.settings.backend, tree, claim, None)


async def _listed(context: Context, backend: str, labels: Mapping[str, str]) -> tuple[InstanceStatus, ...]:
    try:
        provider = await context.backends.provider(backend)
        return await provider.list(labels)
    except NexusError:
        return ()


def _promised(tree: Worktree | None, claim: Claim | None) -> WorkspaceId | None:
    """Return the id that claim or tree were made for."""
    if claim is not None:
        return claim.id
    reason = tree.lock if tree is not None else None
    if reason is None or not reason.startswith(_LOCKED):
        return None
    identifier = reason.removeprefix(_LOCKED)
    return WorkspaceId(identifier) if ID.fullmatch(identifier) else None


async def _write(context: Context, found: Remains, identifier: WorkspaceId, message: str) -> None:
    record = await _record(context, found, identifier, message)
    await context.store.save(record)
    if found.claim is None:
        await context.registry.restore([claim_of(context, record)], ())


async def _record(context: Context, found: Remains, identifier: WorkspaceId, message: str) -> WorkspaceRecord:
    now = datetime.now(UTC)
    settings, tree, status = context.settings, found.tree, found.status
    known = await _described(context, found)
    mappings = status.ports if status and status.ports else await _leased(context, identifier)
    identity = await told_identity(context, found.backend, told=settings.git_identity)
    worktree = context.worktrees.path(found.name)
    return WorkspaceRecord(
        id=identifier,
        name=found.name,
        status=_STATUS.get(status.state, WorkspaceStatus.STOPPED) if status else WorkspaceStatus.STOPPED,
        status_message=message,
        backend=found.backend,
        backend_config=provider_options(settings, found.backend),
        repository=context.repository,
        branch=context.worktrees.branch(found.name),
        # Who made the branch is no longer known, so it is never deleted.
        branch_created=False,
        base_commit=None,
        worktree_path=worktree,
        isolation=tree.isolation if tree else "worktree",
        resources=settings.resources,
        ports={mapping.name: mapping.host_port for mapping in mappings},
        port_mappings=mappings,
        container_id=status.ref.handle if status else None,
        image=known.image or (None if found.backend == "local" else settings.image),
        env_vars={**settings.env, **_given(known)},
        declared_volumes=resolve_mounts(settings.volumes, worktree=worktree, identifier=identifier),
        services=resolve_services(settings.services, worktree=worktree, identifier=identifier),
        created_at=found.claim.created_at if found.claim else now,
        updated_at=now,
        last_active=now,
        process_state=status.process if status else None,
        node=context.node,
        config={
            **settings_of(settings, identity),
            **unknown_grant(),
        },
        labels=users_labels(status.labels) if status else {},
    )


async def _described(context: Context, found: Remains) -> InstanceDescription:
    """Ask the instance itself what it was made from; what it does not know is as it is configured now."""
    if found.status is None:
        return InstanceDescription()
    try:
        provider = await context.backends.provider(found.backend)
        instance = await provider.attach(found.status.ref)
        return await instance.describe() if isinstance(instance, SupportsDescription) else InstanceDescription()
    except NexusError:
        return InstanceDescription()


def _given(known: InstanceDescription) -> dict[str, str]:
    return {key: value for key, value in known.env.items() if not key.startswith(_OURS)}


async def _leased(context: Context, identifier: WorkspaceId) -> tuple[PortMapping, ...]:
    rows = {row.purpose: row for row in await context.registry.leases(identifier)}
    return tuple(
        PortMapping(
            name=request.name,
            protocol=request.protocol,
            container_port=request.container,
            host_port=rows[request.name].port,
            visibility=request.visibility,
            fixed=rows[request.name].fixed,
        )
        for request in port_requests(context.settings)
        if request.name in rows
    )


async def _set_aside(damaged: DamagedRecord) -> None:
    path = anyio.Path(damaged.path)
    aside = path.with_suffix(f".damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    try:
        await path.rename(aside)
    except OSError as error:
        raise StateError(f"the damaged record {path} cannot be moved aside: {error}") from error
