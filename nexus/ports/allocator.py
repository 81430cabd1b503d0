"""Leases of host ports: for workspaces until they are destroyed, for programs until they end."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio import to_thread

from nexus.errors import InvalidArgument, NexusError, PortInUse, StateError
from nexus.models.base import Model
from nexus.models.ids import WorkspaceId
from nexus.models.ports import PortChange, PortMapping, PortRange, PortRequest
from nexus.ports.demand import Conflict, Demand, ProgramDemand, as_request, mapping_for, restored_rows, split
from nexus.ports.plan import check_requests, regions
from nexus.ports.probe import busy_ports, who_listens
from nexus.processes import identify
from nexus.state import LeaseRow, NodeRegistry, PortKey

_log = logging.getLogger(__name__)
_Plan = Callable[[Collection[PortKey], Mapping[PortKey, str]], Sequence[LeaseRow]]


class PortLease(Model):
    """Ports that a program holds."""

    owner: str
    ports: tuple[int, ...]
    purpose: str


class PortAllocator:
    """Hands out host ports that no other workspace or program of this node has, by any process that uses the same registry.

    A port is leased first and then probed on both address families; one that a foreign program listens on is passed over. Leases
    outlive the process, so a workspace keeps its ports over restarts. The constructor only stores.

    Besides what is said below, every method raises ``StateError`` and ``Busy`` as the registry does.

    Args:
        registry: The node's registry.
        port_range: Keep chosen ports inside of this; fixed ports are the user's own choice.
        host: The address that URLs name.
    """

    def __init__(self, registry: NodeRegistry, *, port_range: PortRange | None = None, host: str = "127.0.0.1") -> None:
        self._registry = registry
        self._range = port_range
        self._host = host

    async def allocate(
        self, owner: WorkspaceId, *, key: str, backend: str, requests: Sequence[PortRequest]
    ) -> tuple[PortMapping, ...]:
        """Lease a port for every request. What the workspace has already it keeps, also services that are not asked for now.

        Args:
            owner: The workspace.
            key: What identifies it on every machine, ``<repository>:<name>``; its block follows from it.
            backend: Its backend; decides the region.
            requests: The services, each name once.

        Returns:
            One mapping for each request, in their order. The same names get the same ports on every call.

        Raises:
            PortInUse: When a fixed port is leased to somebody else or a program listens on it; the error names who.
            PortsExhausted: When no block is left.
            InvalidArgument: When the requests contradict each other, or the port range has no room.

        Cancellation:
            The ports are leased or they are not; :meth:`release` frees them. A call that raises leaves what was leased before.
        """
        check_requests(requests)
        kept, replaced, wanted = split(requests, await self._registry.leases(owner))
        demand = Demand(
            owner=owner,
            key=key,
            places=regions(backend, self._range),
            requests=tuple(wanted),
            base=next((row.base for row in (*kept.values(), *replaced) if row.base is not None), None),
            held=frozenset(row.port for row in kept.values()),
        )
        rows = {**kept, **{row.purpose: row for row in await self._settle(owner, demand.rows, replaced=replaced)}}
        return tuple(mapping_for(request, rows[request.name], self._host) for request in requests)

    async def verify(
        self, owner: WorkspaceId, mappings: Sequence[PortMapping], *, key: str | None = None, backend: str = "docker"
    ) -> tuple[tuple[PortMapping, ...], tuple[PortChange, ...]]:
        """Make sure that a workspace which does not run can have its ports back.

        Leases that the registry has lost are made again. A chosen port that somebody else has by now is replaced by another of
        the workspace's block. Only for a workspace that does not run: its own listeners would look like thieves.

        Args:
            owner: The workspace.
            mappings: Its ports, as its record has them.
            key: As for :meth:`allocate`; matters only when a new block is needed.
            backend: As for :meth:`allocate`.

        Returns:
            The mappings that hold now, in their order, and what has changed.

        Raises:
            PortInUse: When a fixed port is taken; the error names by whom. Leases are as they were.
            PortsExhausted: When there is no replacement. Leases are as they were.

        Cancellation:
            Stolen ports may have been replaced already; the next call sees to it again.
        """
        leased = await self._registry.leases(owner)
        foreign = {row.key: row.owner for row in await self._registry.leases() if row.owner != owner}
        stolen = {_key(each) for each in mappings if _key(each) in foreign}
        own = [key for key in map(_key, mappings) if key not in stolen]
        stolen.update(await to_thread.run_sync(busy_ports, own))
        for mapping in mappings:
            if mapping.fixed and _key(mapping) in stolen:
                raise await self._in_use(mapping.name, _key(mapping), foreign.get(_key(mapping)))
        # A port that was leased in place of a stolen one, by a process that was killed before it could tell.
        names, keys = {each.name for each in mappings}, set(map(_key, mappings))
        forgotten = [row.key for row in leased if row.purpose in names and row.key not in keys]
        await self._registry.lease(owner, partial(restored_rows, owner, mappings, leased, stolen), drop=forgotten)
        lost = [each for each in mappings if _key(each) in stolen]
        if not lost:
            return tuple(mappings), ()
        demand = Demand(
            owner=owner,
            key=key or owner,
            places=regions(backend, self._range),
            requests=tuple(map(as_request, lost)),
            base=next((row.base for row in leased if row.base is not None), None),
            held=frozenset(port for _, port in own),
        )
        replaced = [row for row in leased if row.key in stolen]
        rows = {row.purpose: row for row in await self._settle(owner, demand.rows, replaced=replaced, busy=stolen)}
        fresh = tuple(
            mapping_for(as_request(each), rows[each.name], self._host) if each in lost else each for each in mappings
        )
        changes = (PortChange(name=each.name, old=each.host_port, new=rows[each.name].port) for each in lost)
        return fresh, tuple(changes)

    async def release(self, owner: WorkspaceId) -> None:
        """Release all ports of a workspace. None there: nothing."""
        await self._registry.release(owner)

    async def leases(self) -> tuple[LeaseRow, ...]:
        """Return all leases of this node, by port."""
        return await self._registry.leases()

    @asynccontextmanager
    async def lease(
        self, count: int = 1, *, purpose: str, preferred: int | None = None, key: str | None = None
    ) -> AsyncIterator[PortLease]:
        """Hold TCP ports for the block, for a program that is no workspace. A killed program's ports are reclaimed by others.

        Args:
            count: How many.
            purpose: What they are for, in lists.
            preferred: A port to take if it is free.
            key: Decides which ports are tried first; ``purpose`` when absent.

        Raises:
            InvalidArgument: When ``count`` is less than one, or ``preferred`` is reserved.
            PortsExhausted: When there are not enough.

        Cancellation:
            Nothing stays leased.
        """
        process = identify()
        if process is None:
            raise StateError("this system does not tell when a process started, so a lease could not be tied to it")
        if count < 1:
            raise InvalidArgument(f"count must be at least 1, not {count}")
        owner = f"program:{process.pid}:{process.start_time}:{secrets.token_hex(4)}"
        demand = ProgramDemand(
            owner=owner,
            process=process,
            purpose=purpose,
            count=count,
            key=key or purpose,
            preferred=preferred,
            port_range=self._range,
        )
        try:
            rows = await self._settle(owner, demand.rows)
            yield PortLease(owner=owner, ports=tuple(row.port for row in rows), purpose=purpose)
        finally:
            with anyio.CancelScope(shield=True):
                await self._registry.release(owner)

    async def reclaim(self) -> tuple[int, ...]:
        """Release the ports of programs that ended without doing so, and return them. Leasing does it as well."""
        return tuple(row.port for row in await self._registry.reclaim())

    async def _settle(
        self, owner: str, plan: _Plan, *, replaced: Sequence[LeaseRow] = (), busy: Collection[PortKey] = ()
    ) -> tuple[LeaseRow, ...]:
        """Lease what ``plan`` says, probe it outside of the transaction, and plan again around what proves to be busy."""
        known = set(busy)
        rows: tuple[LeaseRow, ...] = ()
        try:
            while True:
                drop = [row.key for row in (*replaced, *rows)]
                rows = await self._registry.lease(owner, partial(plan, frozenset(known)), drop=drop)
                found = await to_thread.run_sync(busy_ports, [row.key for row in rows])
                if not found:
                    return rows
                for row in rows:
                    if row.fixed and row.key in found:
                        raise await self._in_use(row.purpose, row.key, None)
                known.update(found)
        except BaseException as error:
            await self._take_back(owner, rows, replaced)
            if isinstance(error, Conflict):
                raise await self._in_use(error.name, error.key, error.holder) from error
            raise

    async def _take_back(self, owner: str, rows: Sequence[LeaseRow], replaced: Sequence[LeaseRow]) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._registry.lease(owner, partial(_put_back, replaced), drop=[row.key for row in rows])
            except NexusError as error:
                # The caller is told of what went wrong first; releasing the owner's ports sees to the rest.
                _log.warning("ports of %s could not be given back: %s", owner, error)

    async def _in_use(self, name: str, key: PortKey, leased_to: str | None) -> PortInUse:
        holder = await (
            to_thread.run_sync(who_listens, key[1], key[0]) if leased_to is None else self._leaseholder(leased_to, key)
        )
        holder = holder or "a program that does not show itself"
        return PortInUse(
            f"host port {key[1]}/{key[0]} for {name!r} is in use by {holder}",
            hint=f"{'destroy it' if holder.startswith('workspace') else 'stop that program'}, or give this one another host port: "
            f"--set ports.{name}.host=PORT, or null for any that is free",
            details={"port": key[1], "protocol": key[0], "holder": holder, "service": name},
        )

    async def _leaseholder(self, owner: str, key: PortKey) -> str:
        for claim in await self._registry.claims():
            if claim.id == owner:
                return f"workspace {claim.name!r} of {claim.repository}"
        for row in await self._registry.leases(owner):
            if row.key == key and row.process is not None:
                return f"process {row.process.pid} ({row.purpose})"
        return f"workspace {owner}"


def _key(mapping: PortMapping) -> PortKey:
    return (mapping.protocol, mapping.host_port)


def _put_back(rows: Sequence[LeaseRow], table: Mapping[PortKey, str]) -> Sequence[LeaseRow]:
    return [row for row in rows if row.key not in table]
