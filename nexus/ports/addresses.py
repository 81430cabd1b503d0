"""Which address a network interface of this machine has. Blocking, for microseconds."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from typing import Final

_SIOCGIFADDR: Final = 0x8915
_ADDRESS: Final = slice(20, 24)
_REQUEST: Final = 256


def interface_address(name: str) -> str | None:
    """Return an address as it is, and an interface's IPv4 address by its name; ``None`` when there is none.

    Args:
        name: An address or the name of an interface.
    """
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    request = struct.pack(f"{_REQUEST}s", name.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[_ADDRESS])
