"""Errors between a client and a daemon."""

from __future__ import annotations

from typing import ClassVar

from nexus.errors.base import NexusError


class TransportError(NexusError, ConnectionError):
    """The connection to a daemon failed."""

    code = "TRANSPORT_ERROR"
    retryable: ClassVar[bool | None] = True


class ConnectionLost(TransportError):
    """The connection has ended. What runs in workspaces runs on."""

    code = "CONNECTION_LOST"


class ProtocolError(TransportError):
    """The other end broke the rules of the protocol."""

    code = "PROTOCOL_ERROR"
    retryable: ClassVar[bool | None] = False


class VersionMismatch(TransportError):
    """Client and daemon speak no version of the protocol in common; ``details`` names both ranges."""

    code = "VERSION_MISMATCH"
    retryable: ClassVar[bool | None] = False


class SlowConsumer(TransportError):
    """The daemon closed the connection because its client read too slowly for too long."""

    code = "SLOW_CONSUMER"


class DaemonUnavailable(TransportError):
    """No daemon answers there."""

    code = "DAEMON_UNAVAILABLE"


class AuthError(NexusError):
    """The daemon does not accept who is asking."""

    code = "AUTH_ERROR"
    retryable: ClassVar[bool | None] = False


class Unauthenticated(AuthError):
    """There is no valid token."""

    code = "UNAUTHENTICATED"


class TokenExpired(AuthError):
    """The token was valid once; a new one is needed."""

    code = "TOKEN_EXPIRED"


class ScopeDenied(AuthError, PermissionError):
    """The token does not allow this; ``details["scope"]`` says what would."""

    code = "SCOPE_DENIED"
