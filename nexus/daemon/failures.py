"""How long whoever showed a wrong token waits for the answer. Pure, and of bounded size whatever they send."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from typing import Final

from nexus.abc.transport import Peer

FREE: Final = 5
"""Failures within :data:`WINDOW` that cost nothing."""
WINDOW: Final = timedelta(minutes=1)
LONGEST_DELAY: Final = 8.0
MAX_PEERS: Final = 1024
_REMEMBERED: Final = FREE + 4


class Failures:
    """Counts failures for each peer.

    The first five within a minute are answered at once, further ones after 1, 2, 4 and then 8 seconds. What is remembered of a
    peer is forgotten when a thousand others have failed since.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[datetime]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    def failed(self, who: str, now: datetime) -> float:
        """Count a failure, and return how many seconds its answer has to wait.

        Args:
            who: Whose it was; see :func:`counted_as`.
            now: The time.
        """
        times = self._times.pop(who, None) or deque(maxlen=_REMEMBERED)
        self._times[who] = times
        while len(self._times) > MAX_PEERS:
            self._times.popitem(last=False)
        while times and times[0] <= now - WINDOW:
            times.popleft()
        times.append(now)
        over = len(times) - FREE
        return min(2.0 ** (over - 1), LONGEST_DELAY) if over > 0 else 0.0


def counted_as(peer: Peer) -> str:
    """Return what failures of this peer are counted under: its user, or its address without the port.

    The last 64 bits of an IPv6 address are the peer's own choice, so that they are left out.
    """
    if peer.uid is not None:
        return f"uid {peer.uid}"
    host = peer.address.rpartition(":")[0].strip("[]") or peer.address
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
