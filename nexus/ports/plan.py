"""Which host ports a workspace gets: a pure decision over what is taken.

::

    32768-32799   reserved for the system
    32800-34999   docker, local, mock, kubernetes and third parties' backends: 220 blocks of ten
    35000-39999   sprite: 500 blocks of ten
    40000-65535   fallback for all of them: 2,553 blocks of ten

A workspace owns a block. Its place follows from the workspace's key, so the same workspace gets the same ports on every
machine where they are free; within the block a service's name decides: 0 ssh, 1 web, 2 api, 3 database, 4 cache, 5-9 the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Final

from nexus.errors import InvalidArgument, PortsExhausted
from nexus.models.base import Model
from nexus.models.ports import RESERVED_PORTS, PortNumber, PortProtocol, PortRange, PortRequest
from nexus.state.rows import PortKey

DOCKER: Final = PortRange(start=32800, end=34999)
SPRITE: Final = PortRange(start=35000, end=39999)
FALLBACK: Final = PortRange(start=40000, end=65535)
BLOCK: Final = 10

_REGIONS: Final[Mapping[str, PortRange]] = MappingProxyType({"sprite": SPRITE})
_OFFSETS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "ssh": 0,
        **dict.fromkeys(("web", "http", "https", "dashboard"), 1),
        "api": 2,
        **dict.fromkeys(("database", "db", "postgres", "postgresql", "mysql", "mariadb"), 3),
        **dict.fromkeys(("cache", "redis", "memcached"), 4),
    }
)
_REST: Final = (5, 6, 7, 8, 9, 1, 2, 3, 4, 0)
"""Where a service without a place of its own looks, in this order."""


class ProposedPort(Model):
    """A host port for one service."""

    name: str
    protocol: PortProtocol
    port: PortNumber
    fixed: bool
    base: int | None
    """First port of its block; ``None`` for a fixed port."""

    @property
    def key(self) -> PortKey:
        """Protocol and number."""
        return (self.protocol, self.port)


def regions(backend: str, port_range: PortRange | None = None) -> tuple[PortRange, ...]:
    """Return where a backend's workspaces may have their blocks, in order of preference, each a whole number of blocks.

    Args:
        backend: The backend's name.
        port_range: Keep inside of this. A range that meets neither the backend's region nor the fallback is used as it is: it
            was chosen to keep clear of something.

    Raises:
        InvalidArgument: When the range has no room for a block.
    """
    allowed = port_range or PortRange(start=1, end=65535)
    found = [_blocks_within(region, allowed) for region in (_REGIONS.get(backend, DOCKER), FALLBACK)]
    narrowed = tuple(region for region in found if region is not None)
    if not narrowed and port_range is not None:
        own = _blocks_within(port_range, port_range)
        narrowed = () if own is None else (own,)
    if not narrowed:
        raise InvalidArgument(
            f"the port range {allowed.start}-{allowed.end} has no room for a block of {BLOCK} ports",
            hint=f"set port_range to something like {DOCKER.start}-{DOCKER.end}",
        )
    return narrowed


def block_of(port: int, places: Sequence[PortRange]) -> int | None:
    """Return the first port of the block that a port lies in; ``None`` when it is in none of the places."""
    place = next((each for each in places if port in each), None)
    return None if place is None else place.start + (port - place.start) // BLOCK * BLOCK


def _blocks_within(region: PortRange, allowed: PortRange) -> PortRange | None:
    """Return the region's whole blocks that lie inside ``allowed``; blocks start at multiples of ten from the region's start."""
    first = region.start + max(0, -(-(allowed.start - region.start) // BLOCK)) * BLOCK
    count = (min(region.end, allowed.end) + 1 - first) // BLOCK
    return PortRange(start=first, end=first + count * BLOCK - 1) if count > 0 else None


def block_order(key: str, places: Sequence[PortRange]) -> Iterator[int]:
    """Give the first port of every block in the order in which ``key`` tries them.

    Args:
        key: What identifies the workspace everywhere: ``<repository>:<name>``.
        places: Regions of whole blocks; each is gone through from the key's place in it, around and back.
    """
    number = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    for region in places:
        count = (region.end - region.start + 1) // BLOCK
        for step in range(count):
            yield region.start + (number + step) % count * BLOCK


def propose(
    requests: Sequence[PortRequest],
    *,
    taken: Collection[PortKey],
    busy: Collection[PortKey] = (),
    key: str,
    places: Sequence[PortRange],
    base: int | None = None,
    held: Collection[int] = (),
) -> tuple[ProposedPort, ...]:
    """Return a host port for every request, in the order of the requests.

    Args:
        requests: What is wanted; fixed ports are taken as they are.
        taken: Ports leased to others. No block with one of them is used.
        busy: Ports that some program listens on. They are passed over, their blocks are not.
        key: What identifies the workspace everywhere.
        places: Where blocks may be, from :func:`regions`.
        base: First port of a block that the workspace owns already; it is tried first.
        held: Ports of the workspace that stay as they are.

    Raises:
        InvalidArgument: When two requests have one name or fix one port, or a fixed port is reserved for the system.
        PortsExhausted: When there is no free block left; ``details`` holds the numbers.
    """
    check_requests(requests)
    fixed = {request.name: request.host for request in requests if request.host is not None}
    foreign = {port for _, port in taken}
    preferred = _preferred(requests, {*fixed.values(), *held, *(port for _, port in busy), *foreign})
    fixed_or_preferred = {**fixed, **preferred}
    dynamic = [request for request in requests if request.name not in fixed_or_preferred]
    # One number for TCP and UDP alike: nobody reads "32801" and asks which.
    used = {*fixed_or_preferred.values(), *held, *(port for _, port in busy)}
    chosen: dict[str, tuple[int, int]] = {}
    blocks = _free_blocks(chain(() if base is None else (base,), block_order(key, places)), foreign)
    while len(chosen) < len(dynamic):
        block = next(blocks, None)
        if block is None:
            raise _exhausted(places, foreign, len(dynamic))
        waiting = [request for request in dynamic if request.name not in chosen]
        for name, port in _fill(block, waiting, used):
            chosen[name] = (block, port)
            used.add(port)
    return tuple(
        ProposedPort(
            name=request.name,
            protocol=request.protocol,
            port=fixed_or_preferred.get(request.name) or chosen[request.name][1],
            fixed=request.name in fixed,
            base=None if request.name in fixed_or_preferred else chosen[request.name][0],
        )
        for request in requests
    )


def pick(
    count: int,
    *,
    taken: Collection[PortKey],
    busy: Collection[PortKey] = (),
    key: str,
    preferred: int | None = None,
    port_range: PortRange | None = None,
) -> tuple[int, ...]:
    """Return TCP ports for a program that is no workspace: ``preferred`` if it is free, the others from the fallback region.

    Args:
        count: How many.
        taken: Ports leased to others.
        busy: Ports that some program listens on.
        key: Decides where the search begins.
        preferred: The first port to try, wherever it is.
        port_range: Keep inside of this, but for ``preferred``.

    Raises:
        InvalidArgument: When the range has no room, or ``preferred`` is reserved for the system.
        PortsExhausted: When fewer than ``count`` are left; ``details`` holds the numbers.
    """
    if preferred is not None and preferred in RESERVED_PORTS:
        raise InvalidArgument(
            f"port {preferred} is reserved for the system ({RESERVED_PORTS.start}-{RESERVED_PORTS.end})"
        )
    # The last region is the fallback wherever the range allows it; blocks of workspaces are left whole where that can be.
    places = regions("", port_range)[-1:]
    used = {port for _, port in chain(taken, busy)}
    every = (port for base in block_order(key, places) for port in range(base, base + BLOCK))
    chosen: list[int] = []
    for port in chain(() if preferred is None else (preferred,), every):
        if port not in used:
            chosen.append(port)
            used.add(port)
        if len(chosen) == count:
            return tuple(chosen)
    where = f"{places[0].start}-{places[0].end}"
    raise PortsExhausted(
        f"only {len(chosen)} of {count} ports are left in {where}",
        hint="end programs that hold ports, or widen port_range",
        details={"wanted": count, "free": len(chosen)},
    )


def check_requests(requests: Sequence[PortRequest]) -> None:
    """Refuse requests that contradict each other.

    Raises:
        InvalidArgument: When two have one name or fix one port, or a fixed port is reserved for the system.
    """
    names: set[str] = set()
    keys: dict[PortKey, str] = {}
    for request in requests:
        if request.name in names:
            raise InvalidArgument(f"two ports are called {request.name!r}", hint="give each port a name of its own")
        names.add(request.name)
        if request.host is None:
            continue
        if request.host in RESERVED_PORTS:
            raise InvalidArgument(
                f"port {request.host} of {request.name!r} is reserved for the system ({RESERVED_PORTS.start}-{RESERVED_PORTS.end})",
                hint="choose another host port, or none to have one chosen",
            )
        other = keys.setdefault((request.protocol, request.host), request.name)
        if other != request.name:
            raise InvalidArgument(
                f"{other!r} and {request.name!r} both want host port {request.host}/{request.protocol}",
                hint="choose another host port for one of them, or none to have one chosen",
            )


def _preferred(requests: Sequence[PortRequest], used: Collection[int]) -> dict[str, int]:
    """Return the ports that are preferred and can be had, each once."""
    found: dict[str, int] = {}
    for request in requests:
        wish = request.preferred if request.host is None else None
        if wish is not None and wish not in used and wish not in found.values() and wish not in RESERVED_PORTS:
            found[request.name] = wish
    return found


def _free_blocks(bases: Iterator[int], foreign: Collection[int]) -> Iterator[int]:
    seen: set[int] = set()
    for base in bases:
        if base not in seen and not any(port in foreign for port in range(base, base + BLOCK)):
            seen.add(base)
            yield base


def _fill(base: int, waiting: Sequence[PortRequest], used: Collection[int]) -> Iterator[tuple[str, int]]:
    """Give the services that find a port in this block: first those at their own offset, then the others where room is left."""
    free = [offset for offset in _REST if base + offset not in used]
    others: list[PortRequest] = []
    for request in waiting:
        offset = _OFFSETS.get(request.name.lower())
        if offset in free:
            free.remove(offset)
            yield request.name, base + offset
        else:
            others.append(request)
    for request, offset in zip(others, free, strict=False):
        yield request.name, base + offset


def _exhausted(places: Sequence[PortRange], foreign: Collection[int], wanted: int) -> PortsExhausted:
    blocks = sum((place.end - place.start + 1) // BLOCK for place in places)
    where = ", ".join(f"{place.start}-{place.end}" for place in places)
    return PortsExhausted(
        f"no free block of {BLOCK} ports is left for {wanted} services: all {blocks} blocks in {where} are in use",
        hint="destroy workspaces that are not needed, or widen port_range",
        details={"blocks": blocks, "wanted": wanted, "leased_ports": sum(any(p in r for r in places) for p in foreign)},
    )
