"""Trust: what a clone brings along acts on this host only after its user has approved that exact content.

Approvals are kept per user in the node's state, by repository, kind and content; nothing in a repository can say that it was
approved. Where a setting came from decides who has to be asked: what the user or the node wrote themselves needs nobody's leave.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Final

from nexus.config import LayerKind
from nexus.errors import NotTrusted
from nexus.models.instances import Capability
from nexus.models.trust import TrustItem
from nexus.workspace.context import Context

FOREIGN: Final = frozenset({LayerKind.PROJECT})
"""Layers that arrive with a clone."""


async def require(
    context: Context, items: Sequence[TrustItem], *, command: str = "boulder trust", ask: bool = True
) -> None:
    """Return when everything is approved; ask whoever opened the manager for what is not.

    Args:
        context: The repository that it came with.
        items: What would act on this host.
        command: What approves it, for the hint.
        ask: Whether to ask. Something that must go on, a stop, does not wait for an answer.

    Raises:
        NotTrusted: When something is not approved and there is nobody to ask, or the answer is no.
        StateError: When approvals cannot be read or stored.
    """
    open_questions = await context.approvals.unapproved(context.repository.root, items)
    if not open_questions:
        return
    if ask and context.approve is not None:
        answer = context.approve(open_questions)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is True:
            await context.approvals.approve(context.repository.root, open_questions)
            return
    kinds = ", ".join(dict.fromkeys(item.kind for item in open_questions))
    raise NotTrusted(
        f"this project wants to run something on this host that you have not approved: {kinds}",
        unapproved=[item.summary() for item in open_questions],
        hint=f"read it and approve it with '{command}'",
    )


async def isolates(context: Context, backend: str) -> bool:
    """Return whether programs inside a backend's workspaces are kept from this host's files. One that cannot say does not."""
    info = await context.backends.probe(backend)
    return Capability.ISOLATION in info.capabilities
