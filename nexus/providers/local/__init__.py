"""The local backend: a workspace's programs as plain processes in its worktree, on this host, without isolation.

:class:`LocalProvider` is all there is to import. Each running workspace has a *keeper* (:mod:`nexus.providers.local.keeper`) that starts
its commands, owns their pipes and terminals, is the ancestor of everything they start, and outlives the program that started it;
the rest of this package talks to keepers and never trusts a process id alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.providers.local.provider import LocalProvider

__getattr__, __dir__ = on_first_use(__name__, {"nexus.providers.local.provider": ["LocalProvider"]})

__all__ = ["LocalProvider"]
