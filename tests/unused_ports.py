"""Ports for tests that have to know a number before anything listens on it.

A number that the system gives out and that is let go again may be anybody's a moment later: the next caller's, another worker's, or that
of a connection going out. These are below the range the system gives out, every worker has a part of its own, and none is given twice.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Final

_START: Final = 20_000
_END: Final = 32_000
_SHARE: Final = 1_000


def _numbers() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = _START + worker * _SHARE % (_END - _START)
    # Two runs of the suite beside each other begin at different places.
    turn = os.getpid() % _SHARE
    yield from itertools.cycle([*range(start + turn, start + _SHARE), *range(start, start + turn)])


_given: Final = _numbers()


def unused_port() -> int:
    """Return a port of this host that nothing listens on, in either address family."""
    return next(port for port in _given if _free(port))


def _free(port: int) -> bool:
    try:
        for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            if family == socket.AF_INET6 and not pathlib.Path("/proc/net/if_inet6").exists():
                continue
            with socket.socket(family) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((everywhere, port))
    except OSError:
        return False
    return True
