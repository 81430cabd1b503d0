from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nexus.models.ports import PortRange
from nexus.ports import PortAllocator
from nexus.state import NodeRegistry
from tests.programs import spawn

__all__ = ["spawn"]

Listen = Callable[..., socket.socket]

# Above the range from which Linux serves outgoing connections: nobody passes by while a test looks.
QUIET = PortRange(start=61000, end=65529)


@pytest.fixture
def registry(tmp_path: Path) -> NodeRegistry:
    return NodeRegistry(tmp_path / "node" / "workspaces.db")


@pytest.fixture
def allocator(registry: NodeRegistry) -> PortAllocator:
    return PortAllocator(registry, port_range=QUIET)


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Open real sockets that are closed at the end; port 0 lets the kernel choose."""
    with ExitStack() as opened:

        def start(
            port: int = 0,
            address: str = "127.0.0.1",
            *,
            kind: socket.SocketKind = socket.SOCK_STREAM,
            reuse: bool = False,
            backlog: bool = True,
        ) -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            server = opened.enter_context(socket.socket(family, kind))
            if reuse:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            server.bind((address, port))
            if backlog and kind == socket.SOCK_STREAM:
                server.listen()
            return server

        yield start
