"""Host ports: which a workspace gets (:mod:`nexus.ports.plan`), whether they are free, and who holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.ports.allocator import PortAllocator, PortLease
    from nexus.ports.demand import rows_of
    from nexus.ports.ephemeral import ephemeral_overlap, reservation_command
    from nexus.ports.plan import ProposedPort, block_order, propose, regions
    from nexus.ports.probe import is_free, who_listens

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "nexus.ports.allocator": ["PortAllocator", "PortLease"],
        "nexus.ports.demand": ["rows_of"],
        "nexus.ports.ephemeral": ["ephemeral_overlap", "reservation_command"],
        "nexus.ports.plan": ["ProposedPort", "block_order", "propose", "regions"],
        "nexus.ports.probe": ["is_free", "who_listens"],
    },
)

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
