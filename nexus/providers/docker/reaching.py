"""A TCP connection to a port of a container: by its address where this host has the network's bridge, else from inside."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import ByteStream

from nexus.abc import ProcessHandle
from nexus.models.activity import Listener
from nexus.models.execution import SpawnRequest
from nexus.providers.docker.facts import Attachment
from nexus.providers.relay import not_open, relayed

_BRIDGES: Final = Path("/sys/class/net")
_NAMED: Final = re.compile(r"[0-9a-f]{12,}", re.ASCII)
_DEADLINE: Final = 5.0


async def reach(
    port: int,
    *,
    listeners: Sequence[Listener] | None,
    attachments: Iterable[Attachment],
    spawn: Callable[[SpawnRequest], Awaitable[ProcessHandle]],
    workspace: str,
) -> ByteStream:
    """Connect to a port of a running container.

    Args:
        port: The port inside.
        listeners: What listens there; ``None`` when that is not known.
        attachments: The networks that it is on.
        spawn: Starts a command inside.
        workspace: Its name, for errors.

    Raises:
        PortNotOpen: When nothing accepts connections there.
        Unsupported: When it is open to programs inside only, and none of them can connect.
    """
    own = None if listeners is None else [one for one in listeners if one.port == port and one.protocol == "tcp"]
    if own is not None and not own:
        raise not_open(workspace, port)
    if own is None or not all(one.local_only for one in own):
        stream = await _from_outside(port, attachments)
        if stream is not None:
            return stream
    only_ipv6 = own is not None and all(one.address == "::1" for one in own)
    return await relayed(spawn, port, address="::1" if only_ipv6 else "127.0.0.1", workspace=workspace)


async def _from_outside(port: int, attachments: Iterable[Attachment]) -> ByteStream | None:
    for attachment in attachments:
        if not await anyio.to_thread.run_sync(has_bridge, attachment):
            continue
        try:
            with anyio.fail_after(_DEADLINE):
                return await anyio.connect_tcp(attachment.ip_address, port)
        except (OSError, TimeoutError):
            continue
    return None


def has_bridge(attachment: Attachment) -> bool:
    """Return whether this host has the bridge of the network. Blocking, for microseconds.

    A rootless engine, or one on another machine, gives addresses that mean something else here, or nothing.
    """
    if not attachment.ip_address or _NAMED.match(attachment.network_id) is None:
        return False
    return (_BRIDGES / f"br-{attachment.network_id[:12]}" / "bridge").is_dir()
