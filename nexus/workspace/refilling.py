"""The node's registry is filled again from the records of this repository, after somebody has deleted it or moved it away."""

from __future__ import annotations

import logging
import os
import pwd
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from anyio import to_thread

from nexus.errors import Busy, NexusError, StateError
from nexus.models.ids import NodeId, WorkspaceId
from nexus.models.workspace import WorkspaceRecord
from nexus.ports import rows_of
from nexus.state import Claim, LeaseRow, RestoreReport
from nexus.workspace.context import Context

_log = logging.getLogger(__name__)


async def refill(context: Context) -> RestoreReport | None:
    """Put back the claims and leases of this repository that the registry has lost, and learn this node's id.

    Two queries and a list of file names when nothing is missing. A registry that cannot be used is no error here: what needs it
    says so, and everything else goes on. Processes that do this at the same time end with the same rows.

    Returns:
        What was put back; ``None`` when nothing was missing.

    Cancellation: each row is back or not; the next opening sees to the rest.
    """
    try:
        known = await context.registry.known(context.repository.root)
        missing = await context.store.names() - known.names
        records = await _settled(context, missing) if missing else ()
        former = context.known_node or _former_node(records)
        # Before the rows: whoever comes next must not find rows and choose another id.
        context.known_node = known.node or await context.registry.node_id(former=former)
        context.registry_problem = None
        return await _put_back(context, records) if records else None
    except (StateError, Busy) as error:
        context.registry_problem = error
        _log.warning("the node's registry cannot be used: %s", error.message)
        return None


async def put_back_all(context: Context) -> RestoreReport:
    """Put back every claim and every lease that a record of this repository knows, also those of workspaces that are claimed.

    Raises:
        StateError, Busy: When the registry cannot be used.
    """
    records = await _settled(context, await context.store.names())
    context.known_node = await context.registry.node_id(former=context.known_node or _former_node(records))
    context.registry_problem = None
    return await _put_back(context, records)


async def lost_rows(context: Context) -> tuple[str, ...]:
    """Say what records know and the registry does not, one clause each. Nothing is changed.

    Raises:
        StateError, Busy: When the registry cannot be used.
    """
    await context.registry.check()
    records = await _settled(context, await context.store.names())
    claimed = {claim.id for claim in await context.registry.claims(repository=context.repository.root)}
    holders = {row.key: row.owner for row in await context.registry.leases()}
    lost: list[str] = []
    for record in records:
        if record.id not in claimed:
            lost.append(f"the name {record.name!r}")
        lost += [
            f"port {port.host_port}/{port.protocol} of {record.name!r}"
            for port in record.port_mappings
            if (port.protocol, port.host_port) not in holders
        ]
    return tuple(lost)


async def _settled(context: Context, names: Iterable[str]) -> tuple[WorkspaceRecord, ...]:
    """Return the records of these names, without those that an operation is under way with: it sees to its own rows."""
    busy = {entry.name for entry in await context.journal.unfinished()}
    wanted = set(names) - busy
    records, _ = await context.records.all()
    return tuple(record for record in records if record.name in wanted)


async def _put_back(context: Context, records: Sequence[WorkspaceRecord]) -> RestoreReport:
    claims = await to_thread.run_sync(_claims, context, records)
    report = await context.registry.restore(claims, _leases(context, records))
    for conflict in report.conflicts:
        _log.warning("%s", conflict)
    await _take_back_stale(context, records)
    return report


async def _take_back_stale(context: Context, records: Sequence[WorkspaceRecord]) -> None:
    """Somebody may have destroyed a workspace between our reading its record and our writing its rows: they go again.

    One that is being destroyed now has a journal, and its own steps remove them.
    """
    now, _ = await context.records.all()
    there: set[WorkspaceId] = {record.id for record in now}
    for record in records:
        if record.id not in there:
            await context.registry.release(record.id)
            await context.registry.unclaim(record.id)


def _former_node(records: Sequence[WorkspaceRecord]) -> NodeId | None:
    """Return the id that this node had before: what most records say."""
    counted = Counter(record.node for record in records if record.node is not None)
    return counted.most_common(1)[0][0] if counted else None


def _claims(context: Context, records: Sequence[WorkspaceRecord]) -> list[Claim]:
    return [claim_of(context, record) for record in records]


def claim_of(context: Context, record: WorkspaceRecord) -> Claim:
    """Return the claim that a record must have had. Looks at the record's file."""
    return Claim(
        id=record.id,
        name=record.name,
        repository=record.repository.root,
        user=_owner(context.store.path(record.name)),
        backend=record.backend,
        created_at=record.created_at,
    )


def _owner(path: Path) -> str:
    """Return whose workspace it is: the user whom its record belongs to, whoever opens the repository now."""
    try:
        number = path.stat().st_uid
    except OSError:
        number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _leases(context: Context, records: Sequence[WorkspaceRecord]) -> list[LeaseRow]:
    rows: list[LeaseRow] = []
    for record in records:
        try:
            rows += rows_of(record.id, record.backend, record.port_mappings, context.settings.port_range)
        except NexusError as error:
            # A range without room is said where ports are chosen; the names are worth having all the same.
            _log.warning("the ports of %s cannot be leased again: %s", record.name, error.message)
    return rows
