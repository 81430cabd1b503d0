"""The workspaces behind a daemon: a client and how it reaches the daemon, put together."""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable

from nexus import __version__
from nexus.abc.transport import Transport
from nexus.client.backoff import Backoff
from nexus.client.line import Line
from nexus.client.service import NexusClient
from nexus.models.units import seconds


def connect(
    to: str | os.PathLike[str] | Callable[[], Awaitable[Transport]],
    *,
    token: str | Callable[[], Awaitable[str]] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 30.0,
    backoff: Backoff | None = None,
) -> NexusClient:
    """Return a client of a daemon: the same service as :func:`open` gives, over a connection. Nothing happens before ``async with``.

    Args:
        to: ``ws://127.0.0.1:8080``, ``wss://…``, the path of the daemon's socket, or what makes a connection, such as a
            daemon's ``dial`` for one in memory.
        token: A token that the daemon has issued, or a coroutine function that gives a fresh one whenever one is needed.
        tls: How a ``wss`` address is verified; by this machine's certificates when absent.
        timeout: Seconds that making a connection may take.
        backoff: When a lost connection is tried to be made again, and for how long; for a minute when absent.

    Returns:
        A client, to be entered.

    Raises:
        DaemonUnavailable, Unauthenticated, TokenExpired, VersionMismatch, ProtocolError: On entering.
    """
    limit = seconds(timeout)

    async def dial(shown: str | None) -> Transport:
        if callable(to):
            return await to()
        from nexus.client.dialer import dial as over_websocket  # noqa: PLC0415 - loads websockets, which few need

        return await over_websocket(to, token=shown, timeout=limit or 30.0, tls=tls)

    return NexusClient(lambda: Line(dial, token, backoff or Backoff(), version=__version__))
