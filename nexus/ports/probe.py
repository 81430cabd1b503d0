"""Is a port of this host free? Asked of the kernel, by binding, in both address families.

Everything here blocks for microseconds, :func:`who_listens` for milliseconds; callers use worker threads.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Final

from nexus.models.ports import PortProtocol
from nexus.ports.sockets import LINGERING, LISTENING, describe, sockets_on
from nexus.state.rows import PortKey

_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
# The wildcard meets sockets of every address; loopback meets those that another program's tricks hide from the wildcard.
_ADDRESSES: Final = (
    (socket.AF_INET, "0.0.0.0"),  # noqa: S104 - bound for an instant, never listened on
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET6, "::"),
    (socket.AF_INET6, "::1"),
)
_PAUSES: Final = (0.001, 0.005, 0.02)
"""Seconds between looks at a port that somebody has bound and nobody listens on: a probe, or a server about to begin."""
_ABSENT: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.EINVAL})


def is_free(port: int, protocol: PortProtocol = "tcp") -> bool:
    """Return whether a program could listen on ``port`` now, on any address of this host.

    A TCP port on which only connections of a server that has ended linger (``TIME_WAIT``) is free: servers and container engines
    bind over them. A port below 1024 that this process may not bind counts as free unless something listens on it: the
    engine that will publish it may be allowed to.
    """
    return all(_binds(port, protocol, family, address) for family, address in _ADDRESSES)


def busy_ports(keys: list[PortKey]) -> list[PortKey]:
    """Return those of ``keys`` that are not free.

    Whoever asks the kernel as we do has the port for that instant. So one that nobody is seen on is looked at again, a few times.
    """
    busy = [key for key in keys if not _free(key)]
    for pause in _PAUSES if busy else ():
        if all(sockets_on(port, protocol) for protocol, port in busy):
            break
        time.sleep(pause)
        busy = [key for key in busy if not _free(key)]
    return busy


def _free(key: PortKey) -> bool:
    protocol, port = key
    return is_free(port, protocol)


def who_listens(port: int, protocol: PortProtocol = "tcp") -> str | None:
    """Return who holds a port, as well as this user may know: ``nginx, process 123``; ``None`` when nobody is seen there."""
    return describe(port, protocol)


def _binds(port: int, protocol: PortProtocol, family: socket.AddressFamily, address: str) -> bool:
    try:
        _bind(port, protocol, family, address, over_lingering=False)
    except OSError as error:
        if error.errno in _ABSENT:
            return True  # the family is switched off
        if error.errno == errno.EACCES:
            return not any(found.state == LISTENING or protocol == "udp" for found in sockets_on(port, protocol))
        if error.errno == errno.EADDRINUSE and protocol == "tcp":
            return _only_lingers(port, family, address)
        return False
    return True


def _only_lingers(port: int, family: socket.AddressFamily, address: str) -> bool:
    """Return whether nothing but closing connections is in the way.

    SO_REUSEADDR alone would also overlook a socket that is bound with it and does not listen yet.
    """
    try:
        _bind(port, "tcp", family, address, over_lingering=True)
    except OSError:
        return False
    found = sockets_on(port, "tcp")
    return bool(found) and all(each.state in LINGERING for each in found)


def _bind(
    port: int, protocol: PortProtocol, family: socket.AddressFamily, address: str, *, over_lingering: bool
) -> None:
    with socket.socket(family, _KINDS[protocol]) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if over_lingering:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
