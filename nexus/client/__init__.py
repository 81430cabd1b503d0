"""The remote client: the same service over a connection to a daemon.

- ``service`` — ``NexusClient``; ``files``, ``git``, ``processes``, ``watching``, ``ports`` — what it gives.
- ``line`` — a connection that is made again when it is lost; ``link`` — one of these connections; ``dialer`` — how one is made.
"""

from __future__ import annotations
