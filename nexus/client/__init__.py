"""The remote client: the same service over a connection to a daemon.

- ``service`` — ``NexusClient``; ``files``, ``git``, ``processes``, ``watching``, ``ports`` — what it gives.
- ``line`` — a connection that is made again when it is lost; ``link`` — one of these connections; ``dialer`` — how one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nexus.loading import on_first_use

if TYPE_CHECKING:
    from nexus.client import checkpoints, files, git, ports, processes, streams, terminals

__getattr__, __dir__ = on_first_use(
    __name__, {"nexus.client": ["checkpoints", "files", "git", "ports", "processes", "streams", "terminals"]}
)

__all__ = ["checkpoints", "files", "git", "ports", "processes", "streams", "terminals"]
