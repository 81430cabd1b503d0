"""The local backend: a workspace's programs as plain processes in its worktree, on this host, without isolation.

:class:`LocalProvider` is all there is to import. Each running workspace has a *keeper* (:mod:`nexus.providers.local.keeper`) that starts
its commands, owns their pipes and terminals, is the ancestor of everything they start, and outlives the program that started it;
the rest of this package talks to keepers and never trusts a process id alone.
"""

from __future__ import annotations

from nexus.providers.local.provider import LocalProvider

__all__ = ["LocalProvider"]
