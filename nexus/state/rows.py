"""What the node's registry holds: who has which name, and who has which port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydantic import Field

from nexus.models.base import Model
from nexus.models.ids import Name, NodeId, WorkspaceId
from nexus.models.ports import PortNumber, PortProtocol
from nexus.models.workspace import ProcessState

PortKey: TypeAlias = tuple[PortProtocol, int]
"""A port of the host: TCP 80 and UDP 80 are two."""


def _now() -> datetime:
    return datetime.now(UTC)


class Claim(Model):
    """A workspace of this node: its name is taken in its repository, and it counts against its user's limit."""

    id: WorkspaceId
    name: Name
    repository: Path
    """The repository's main work tree."""
    user: str
    backend: str
    created_at: datetime = Field(default_factory=_now)


class LeaseRow(Model):
    """A host port that belongs to somebody until it is released."""

    port: PortNumber
    protocol: PortProtocol = "tcp"
    owner: str
    """A workspace's id, or the name of a program's lease."""
    purpose: str
    """The service that is reached by it."""
    fixed: bool = False
    """Whether the number was asked for by name and must not be replaced."""
    base: int | None = None
    """First port of the owner's block."""
    created_at: datetime = Field(default_factory=_now)
    process: ProcessState | None = None
    """For a program's lease: the process that it ends with. ``None`` for a workspace's."""

    @property
    def key(self) -> PortKey:
        """Protocol and number, which only one owner can have."""
        return (self.protocol, self.port)


Decision: TypeAlias = Callable[[Mapping[PortKey, str]], Sequence[LeaseRow]]
"""A pure function from the leased ports and their owners to the rows that shall be added."""


class Known(NamedTuple):
    """What the registry knows of one repository."""

    node: NodeId | None
    """The node's id; ``None`` in a registry that has just been made."""
    names: frozenset[str]
    """The workspaces that are claimed."""


class RestoreReport(Model):
    """What could be put back into a registry that was lost."""

    claims: int
    """Claims that were missing and are there again."""
    leases: int
    """Leases that were missing and are there again."""
    conflicts: tuple[str, ...] = ()
    """One sentence for each row that somebody else has by now."""
