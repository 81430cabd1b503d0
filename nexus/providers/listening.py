"""What listens, read from the kernel's tables of TCP sockets (``/proc/net/tcp``, ``/proc/net/tcp6``). Pure."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from nexus.models.activity import Listener

_LISTENING: Final = "0A"
_WIDTHS: Final = frozenset({8, 32})


def listeners_in(tables: Iterable[str], inodes: Collection[int] | None = None) -> tuple[Listener, ...]:
    """Return the sockets that wait for connections, by port; what cannot be read as a line of the table is passed over.

    Args:
        tables: The texts of the tables, or of several one after the other.
        inodes: Only sockets with one of these numbers; all when absent.
    """
    found = {listener for table in tables for inode, listener in _lines(table) if inodes is None or inode in inodes}
    return tuple(sorted(found, key=lambda one: (one.port, one.address)))


def _lines(table: str) -> Iterator[tuple[int, Listener]]:
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTENING:
            continue
        address, _, port = fields[1].partition(":")
        try:
            yield int(fields[9]), Listener(port=int(port, 16), address=_address(address))
        except ValueError:
            continue  # not the kernel's own words: whatever wrote them does not listen


def _address(words: str) -> str:
    """Return an address from the kernel's spelling: 32-bit words in hexadecimal, each in the byte order of the machine."""
    if len(words) not in _WIDTHS:
        msg = f"{words!r} is no address"
        raise ValueError(msg)
    words = words if sys.byteorder == "big" else "".join(_swapped(words))
    address = ipaddress.ip_address(bytes.fromhex(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _swapped(words: str) -> Iterator[str]:
    for at in range(0, len(words), 8):
        yield bytes.fromhex(words[at : at + 8])[::-1].hex()
