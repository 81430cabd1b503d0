"""From requests to rows of the registry and from rows to mappings. Pure: the allocator asks, the registry stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nexus.models.base import Model
from nexus.models.ports import PortMapping, PortRange, PortRequest
from nexus.models.workspace import ProcessState
from nexus.ports.plan import block_of, pick, propose, regions
from nexus.state.rows import LeaseRow, PortKey


class Conflict(Exception):
    """A fixed port is leased to somebody else."""

    def __init__(self, name: str, key: PortKey, holder: str) -> None:
        super().__init__(name, key, holder)
        self.name = name
        self.key = key
        self.holder = holder


class Demand(Model):
    """What a workspace wants, and what it has already."""

    owner: str
    key: str
    places: tuple[PortRange, ...]
    requests: tuple[PortRequest, ...]
    base: int | None = None
    held: frozenset[int] = frozenset()

    def rows(self, busy: Collection[PortKey], table: Mapping[PortKey, str]) -> Sequence[LeaseRow]:
        """Return the rows to add, given the ports that programs listen on and those that are leased.

        Raises:
            Conflict: When a fixed port is leased to somebody else.
            PortsExhausted: When no block is left.
        """
        others = {key for key, owner in table.items() if owner != self.owner}
        # Services of ours that are not asked for now keep their numbers.
        held = self.held | {port for (_, port), owner in table.items() if owner == self.owner}
        for request in self.requests:
            if request.host is not None and (request.protocol, request.host) in others:
                key: PortKey = (request.protocol, request.host)
                raise Conflict(request.name, key, table[key])
        proposed = propose(
            self.requests, taken=others, busy=busy, key=self.key, places=self.places, base=self.base, held=held
        )
        return [
            LeaseRow(
                port=each.port,
                protocol=each.protocol,
                owner=self.owner,
                purpose=each.name,
                fixed=each.fixed,
                base=each.base,
            )
            for each in proposed
        ]


def split(
    requests: Sequence[PortRequest], rows: Sequence[LeaseRow]
) -> tuple[dict[str, LeaseRow], list[LeaseRow], list[PortRequest]]:
    """Return the leases that serve a request as they are, those that have to give way, and the requests that are left."""
    known = {row.purpose: row for row in rows}
    kept: dict[str, LeaseRow] = {}
    replaced: list[LeaseRow] = []
    wanted: list[PortRequest] = []
    for request in requests:
        row = known.get(request.name)
        if row is not None and _serves(row, request):
            kept[request.name] = row
            continue
        wanted.append(request)
        if row is not None:
            replaced.append(row)
    return kept, replaced, wanted


def _serves(row: LeaseRow, request: PortRequest) -> bool:
    if row.protocol != request.protocol:
        return False
    return not row.fixed if request.host is None else row.fixed and row.port == request.host


class ProgramDemand(Model):
    """What a program that is no workspace wants."""

    owner: str
    process: ProcessState
    purpose: str
    count: int
    key: str
    preferred: int | None = None
    port_range: PortRange | None = None

    def rows(self, busy: Collection[PortKey], table: Mapping[PortKey, str]) -> Sequence[LeaseRow]:
        """Return the rows to add, given the ports that programs listen on and those that are leased.

        Raises:
            PortsExhausted: When there are not enough.
        """
        ports = pick(
            self.count,
            taken=table.keys(),
            busy=busy,
            key=self.key,
            preferred=self.preferred,
            port_range=self.port_range,
        )
        return [LeaseRow(port=port, owner=self.owner, purpose=self.purpose, process=self.process) for port in ports]


def restored_rows(
    owner: str,
    mappings: Sequence[PortMapping],
    leased: Sequence[LeaseRow],
    stolen: Collection[PortKey],
    table: Mapping[PortKey, str],
) -> Sequence[LeaseRow]:
    """Return rows for those ports of a workspace that are in its record and not in the registry."""
    base = next((row.base for row in leased if row.base is not None), None)
    return [
        LeaseRow(
            port=each.host_port,
            protocol=each.protocol,
            owner=owner,
            purpose=each.name,
            fixed=each.fixed,
            base=None if each.fixed else base,
        )
        for each in mappings
        if (each.protocol, each.host_port) not in table and (each.protocol, each.host_port) not in stolen
    ]


def rows_of(
    owner: str, backend: str, mappings: Sequence[PortMapping], port_range: PortRange | None = None
) -> tuple[LeaseRow, ...]:
    """Return the leases that a workspace with these ports must have had, for a registry that was lost."""
    places = regions(backend, port_range)
    return tuple(
        LeaseRow(
            port=each.host_port,
            protocol=each.protocol,
            owner=owner,
            purpose=each.name,
            fixed=each.fixed,
            base=None if each.fixed else block_of(each.host_port, places),
        )
        for each in mappings
    )


def as_request(mapping: PortMapping) -> PortRequest:
    """Return a request for the same service again, with any host port."""
    return PortRequest(
        name=mapping.name,
        container=mapping.container_port,
        protocol=mapping.protocol,
        visibility=mapping.visibility,
    )


def mapping_for(request: PortRequest, row: LeaseRow, host: str) -> PortMapping:
    """Return the mapping that a lease makes of a request."""
    name = f"[{host}]" if ":" in host else host
    return PortMapping(
        name=request.name,
        protocol=request.protocol,
        container_port=request.container,
        host_port=row.port,
        visibility=request.visibility,
        fixed=row.fixed,
        url=f"http://{name}:{row.port}" if request.protocol == "tcp" else None,
    )
