"""Host ports: which a workspace gets (:mod:`nexus.ports.plan`), whether they are free, and who holds them."""

from __future__ import annotations

from nexus.ports.allocator import PortAllocator, PortLease
from nexus.ports.demand import rows_of
from nexus.ports.ephemeral import ephemeral_overlap, reservation_command
from nexus.ports.plan import ProposedPort, block_order, propose, regions
from nexus.ports.probe import is_free, who_listens

__all__ = [
    "PortAllocator",
    "PortLease",
    "ProposedPort",
    "block_order",
    "ephemeral_overlap",
    "is_free",
    "propose",
    "regions",
    "reservation_command",
    "rows_of",
    "who_listens",
]
