"""The node's registry: names and ports of all workspaces of this machine, agreed on between processes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nexus.models.ids import NodeId, WorkspaceId
from nexus.state import tables
from nexus.state.database import Database
from nexus.state.rows import Claim, Decision, Known, LeaseRow, PortKey, RestoreReport
from nexus.state.threads import run_whole


class NodeRegistry:
    """Names, quotas and port leases of one machine, in one SQLite file that any number of processes share.

    The constructor only stores. The file is made on first use, and made again when somebody deletes it: :meth:`restore` puts
    back what records know. Every method raises ``StateError`` when the file cannot be used, ``RegistryDamaged`` when it is
    damaged, and ``Busy`` when it stays locked for ten seconds. A cancelled call was either done completely or not at all.

    Args:
        path: The database file, for example ``/var/lib/nexus/state/workspaces.db``.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._database = Database(path)

    async def node_id(self, *, former: NodeId | None = None) -> NodeId:
        """Return this node's id, chosen at random once and kept for as long as the registry's file is.

        Args:
            former: The id that the node had before its registry was lost; taken when there is none now.
        """
        return await run_whole(partial(self._database.transact, partial(tables.node_id, former=former)))

    async def known(self, repository: Path) -> Known:
        """Return the node's id and the names that are claimed in a repository, without making either."""
        return await run_whole(partial(self._database.transact, partial(tables.known, repository)))

    async def check(self) -> None:
        """Read every page and every row.

        Raises:
            RegistryDamaged: When one of them cannot be understood.
        """
        await run_whole(partial(self._database.transact, tables.check))

    async def move_away(self) -> Path | None:
        """Move the file aside when it is damaged; the next call makes an empty one, to be filled by :meth:`restore`.

        Returns:
            Where it is now; ``None`` when it is sound.

        Raises:
            StateError: When it cannot be moved.
        """
        return await run_whole(self._database.move_away)

    async def claim(self, claim: Claim, *, max_per_user: int | None = None, max_total: int | None = None) -> None:
        """Reserve a workspace's name in its repository.

        Args:
            claim: The reservation.
            max_per_user: How many workspaces one user may have on this node; ``None`` for any number.
            max_total: How many workspaces this node may have; ``None`` for any number.

        Raises:
            AlreadyExists: When the name is taken in that repository, or the id is taken.
            QuotaExceeded: When a limit is reached; ``details`` holds ``limit`` and ``count``.
        """
        await run_whole(partial(self._database.transact, partial(tables.add_claim, claim, max_per_user, max_total)))

    async def unclaim(self, workspace: WorkspaceId) -> None:
        """Give a reservation back. None there: nothing. Leases are released separately."""
        await run_whole(partial(self._database.transact, partial(tables.remove_claim, workspace)))

    async def claims(self, *, repository: Path | None = None) -> tuple[Claim, ...]:
        """Return all reservations, or those of one repository, by repository and name."""
        return await run_whole(partial(self._database.transact, partial(tables.all_claims, repository)))

    async def claim_of(self, repository: Path, name: str) -> Claim | None:
        """Return the reservation of a name in a repository, if there is one."""
        return await run_whole(partial(self._database.transact, partial(tables.claim_of, repository, name)))

    async def lease(self, owner: str, decide: Decision, *, drop: Sequence[PortKey] = ()) -> tuple[LeaseRow, ...]:
        """Lease ports by a decision that sees all leases and that no other process can overtake.

        Leases of programs that have ended are removed first. Rows for ports that ``owner`` has already are replaced.

        Args:
            owner: Whose leases they become; every decided row must carry it.
            decide: Gets all leased ports with their owners, after ``drop``; returns the rows to add. Must be pure and quick:
                every other process waits for it.
            drop: Ports of ``owner`` to release in the same transaction.

        Returns:
            The rows that ``decide`` returned.

        Raises:
            PortInUse: When a decided port belongs to another owner. Nothing was changed.
            Exception: What ``decide`` raises. Nothing was changed.
        """
        return await run_whole(partial(self._database.transact, partial(tables.add_leases, owner, decide, tuple(drop))))

    async def leases(self, owner: str | None = None) -> tuple[LeaseRow, ...]:
        """Return all leases, or those of one owner, by port."""
        return await run_whole(partial(self._database.transact, partial(tables.all_leases, owner)))

    async def release(self, owner: str, ports: Sequence[int] | None = None) -> None:
        """Release all ports of ``owner``, or those with these numbers in every protocol. Ports of others are left alone."""
        await run_whole(partial(self._database.transact, partial(tables.remove_leases, owner, ports)))

    async def reclaim(self) -> tuple[LeaseRow, ...]:
        """Remove the leases of programs that have ended without releasing them, and return them."""
        return await run_whole(partial(self._database.transact, tables.remove_dead_leases))

    async def restore(self, claims: Sequence[Claim], leases: Sequence[LeaseRow]) -> RestoreReport:
        """Put back rows that records know and the registry has lost. Rows that are there already are left alone."""
        return await run_whole(partial(self._database.transact, partial(tables.put_back, tuple(claims), tuple(leases))))

    async def aclose(self) -> None:
        """Close the file. Any later call opens it again; dropping the object closes it as well."""
        await run_whole(self._database.close)
