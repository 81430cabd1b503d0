"""One connection from its first to its last moment, whatever carries it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio

from nexus.abc.transport import Peer, Transport
from nexus.daemon.door import Door
from nexus.daemon.handshake import HANDSHAKE_SECONDS
from nexus.errors import NexusError, TransportError

Serve = Callable[[Transport], Awaitable[None]]
"""What serves one connection until it ends. It has the peer admitted by the door before it does anything for it."""

CLOSE_UNAUTHENTICATED: Final = 4001
_CLOSE_INTERNAL: Final = 1011
_CLOSING_SECONDS: Final = 2.0

_log: Final = logging.getLogger("nexus.daemon")


async def attend(transport: Transport, door: Door, serve: Serve, *, patience: float = HANDSHAKE_SECONDS) -> None:
    """Serve a connection until it ends. It is closed afterwards, and one that is still a stranger after a while is closed before.

    Args:
        transport: The connection, whose peer has arrived at the door.
        door: Knows who is a stranger.
        serve: What serves it. An error of its is logged and ends this connection alone.
        patience: Seconds that a stranger has for showing a token.

    Cancellation: the connection is closed.
    """
    peer = transport.peer
    code, reason = 1000, ""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_hurry, transport, door, patience)
            await serve(transport)
            group.cancel_scope.cancel()
    except* TransportError:
        pass  # it ended, which is what connections do
    except* Exception as failure:  # noqa: BLE001 - one connection must not end the others
        _log.error("serving %s failed: %s", peer.address, told(failure))
        code, reason = _CLOSE_INTERNAL, "the daemon failed; its log says more"
    finally:
        door.leave(peer)
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            await transport.aclose(code, reason)


async def _hurry(transport: Transport, door: Door, patience: float) -> None:
    if not door.is_stranger(transport.peer):
        return
    await anyio.sleep(patience)
    if door.is_stranger(transport.peer):
        refused(transport.peer, f"it showed no token within {patience:g} s")
        await transport.aclose(CLOSE_UNAUTHENTICATED, "no token in time")


def refused(peer: Peer, why: str) -> None:
    """Log that a connection was refused.

    Args:
        peer: Whose.
        why: What was wrong with it; no secret.
    """
    _log.warning("refused %s: %s", peer.address, why)


def told(error: BaseException) -> str:
    """Return an error for a log: its classes and where they arose. What an unexpected one says may quote a secret."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(part) for part in error.exceptions)
    if isinstance(error, NexusError):
        return f"{error.code}: {error.message}"
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames[-8:]))
    return f"{type(error).__name__} at {where}"
