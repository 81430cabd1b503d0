"""Who is at the other end of a socket, as far as the kernel knows."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

from nexus.abc.transport import Peer

_CREDENTIALS: Final = struct.Struct("3i")
"""``struct ucred``: process, user, group."""


def peer_of(connected: socket.socket, number: int) -> Peer:
    """Return who is at the other end.

    Args:
        connected: A TCP or Unix socket.
        number: Tells this connection from others of the same process.

    Raises:
        OSError: When the connection has ended already.
    """
    if connected.family == socket.AF_UNIX:
        data = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _group = _CREDENTIALS.unpack(data)
        return Peer(address=f"unix:{pid}#{number}", uid=uid, pid=pid)
    host, port = connected.getpeername()[:2]
    return Peer(address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def may_knock(peer: Peer) -> str | None:
    """Return why a peer is not even listened to; ``None`` when it is. On a Unix socket only this user and root are.

    Args:
        peer: Who. The user id of a process in another user namespace that maps to nobody here is nobody's.
    """
    if peer.uid is None or peer.uid in {0, os.geteuid()}:
        return None
    return f"it is a process of another user (uid {peer.uid})"
