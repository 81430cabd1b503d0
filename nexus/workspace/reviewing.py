"""Looking at what a project would do on this host, and approving it: the face of trust that programs use."""

from __future__ import annotations

from collections.abc import Sequence

from nexus.models.trust import Approval, TrustItem, TrustReview
from nexus.workspace.context import Context
from nexus.workspace.hook_plan import planned
from nexus.workspace.service_trust import service_items


class Trust:
    """Approvals of one repository, by the user of this process. Made by :attr:`nexus.WorkspaceManager.trust`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def review(self, name: str | None = None) -> tuple[TrustReview, ...]:
        """Return everything that would need approval on a backend that does not isolate, approved or not.

        Args:
            name: A workspace, whose own settings count as well; the project alone when absent.

        Raises:
            WorkspaceNotFound: When there is no such workspace.
        """
        record = None if name is None else await self._context.records.load(name)
        scripts = (entry.item for entry in planned(self._context.stack, record) if entry.item is not None)
        items = (*scripts, *service_items(self._context.stack, record))
        left = await self._context.approvals.unapproved(self._context.repository.root, items)
        return tuple(TrustReview(item=item, approved=item not in left) for item in items)

    async def approve(self, items: Sequence[TrustItem]) -> None:
        """Approve exactly these contents for this repository, from now on and until they are revoked.

        Cancellation: some may be approved.
        """
        await self._context.approvals.approve(self._context.repository.root, items)

    async def approvals(self) -> tuple[Approval, ...]:
        """Return what you have approved for this repository, the oldest first."""
        return await self._context.approvals.approvals(self._context.repository.root)

    async def revoke(self, digests: Sequence[str] | None = None) -> tuple[Approval, ...]:
        """Take approvals back, those of these contents or all, and return them. What runs already goes on.

        Args:
            digests: SHA-256 of the contents.
        """
        return await self._context.approvals.revoke(self._context.repository.root, digests)
