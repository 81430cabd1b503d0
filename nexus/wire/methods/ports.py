"""``ports.*``: what listens inside, and ways to it."""

from __future__ import annotations

from typing import Final

from nexus.models.activity import PortView
from nexus.models.ports import OpenedPort, PortNumber, Visibility
from nexus.wire.methods.table import Effect, KeyedOfWorkspace, Method, Milliseconds, Nothing, OfWorkspace, Params


class PortList(Params):
    """Ports, those that programs opened unasked at the end."""

    items: tuple[PortView, ...]


class OfPort(OfWorkspace):
    """A port inside."""

    port: PortNumber


class OpenPort(KeyedOfWorkspace):
    """A port inside that the daemon's host is to reach."""

    port: PortNumber
    host_port: PortNumber | None = None
    visibility: Visibility = "private"


class ClosePort(KeyedOfWorkspace):
    """A port that was opened."""

    port: PortNumber


class WaitPort(OfPort):
    """How long to wait; for ever when absent."""

    timeout_ms: Milliseconds | None = 60_000


class Connected(Params):
    """The stream in both directions: what is sent on it goes to the program inside, what comes on it is from there."""

    stream: int


_SCOPE = "port"

LIST: Final = Method(
    "ports.list", OfWorkspace, PortList, Effect.READ, "workspace:read", "Return its ports with what listens now."
)
CONNECT: Final = Method(
    "ports.connect", OfPort, Connected, Effect.LIVE, _SCOPE, "Connect to a TCP port inside, over this socket."
)
OPEN: Final = Method(
    "ports.open", OpenPort, OpenedPort, Effect.KEYED, _SCOPE, "Make a port reachable from the daemon's host."
)
CLOSE: Final = Method("ports.close", ClosePort, Nothing, Effect.KEYED, _SCOPE, "End what `ports.open` began.")
WAIT: Final = Method("ports.wait", WaitPort, Nothing, Effect.READ, _SCOPE, "Wait until something accepts connections.")

METHODS: Final = (LIST, CONNECT, OPEN, CLOSE, WAIT)
