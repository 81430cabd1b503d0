"""Makes connections to a daemon."""

from __future__ import annotations

import os
import ssl
from contextlib import AbstractContextManager, nullcontext
from typing import Final, cast
from urllib.parse import urlsplit

import anyio
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from nexus.abc.transport import Peer
from nexus.errors import (
    DaemonUnavailable,
    InvalidArgument,
    ProtocolError,
    SlowConsumer,
    Unauthenticated,
)
from nexus.socket_address import address as address_of
from nexus.websocket import PromptConnection, WebSocketTransport
from nexus.wire.limits import DEFAULT_LIMITS, SUBPROTOCOL

_PING_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 0.5
_RPC: Final = "/v1/rpc"
_CODES: Final = {4004: lambda: SlowConsumer("the daemon closed the connection: it was read too slowly")}


class _Connection(PromptConnection, ClientConnection):
    """A connection whose messages are looked at the moment they arrive."""


async def dial(
    address: str | os.PathLike[str], *, token: str | None, timeout: float, tls: ssl.SSLContext | None = None
) -> WebSocketTransport:
    """Connect.

    Args:
        address: ``ws://host:port``, ``wss://…``, or the path of a Unix socket.
        token: Sent with the handshake.
        timeout: Seconds for all of it.
        tls: How a ``wss`` address is verified; as usual when absent.

    Raises:
        DaemonUnavailable: When nobody answers.
        Unauthenticated: When the token is refused.
        ProtocolError: When it is no daemon.
        InvalidArgument: When the address is none.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    text = os.fspath(address)
    url, path = _place(text)
    try:
        with anyio.fail_after(timeout), _reachable(path) as socket:
            making = unix_connect if socket is not None else connect
            options = {"path": socket} if socket is not None else ({"ssl": tls} if tls is not None else {})
            connection = await making(
                uri=url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers=headers,
                compression=None,
                user_agent_header=None,
                open_timeout=timeout,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PING_SECONDS,
                close_timeout=_CLOSE_SECONDS,
                max_size=DEFAULT_LIMITS.text_frame * 4,
                proxy=None,
                create_connection=_Connection,
                **options,
            )
    except (OSError, TimeoutError) as error:
        raise DaemonUnavailable(
            f"no daemon answers at {text}: {_said(error)}", hint="start one: boulder daemon start"
        ) from None
    except InvalidStatus as error:
        raise _refused(error, text) from None
    except InvalidURI as error:
        raise InvalidArgument(f"{text!r} is no address of a daemon: {error}") from None
    except InvalidHandshake as error:
        if isinstance(error.__cause__, EOFError | OSError):
            raise DaemonUnavailable(f"the connection to {text} was lost while it was made") from None
        raise ProtocolError(f"what answers at {text} is no daemon: {error}") from None
    return WebSocketTransport(cast("_Connection", connection), Peer(address=text), codes=_CODES)


def _reachable(path: str | None) -> AbstractContextManager[str | None]:
    """Give the name that a socket can be connected by: long paths do not fit into the kernel's own form."""
    return nullcontext(None) if path is None else address_of(path)


def _said(error: OSError | TimeoutError) -> str:
    return str(error) or "it took too long"


def _place(text: str) -> tuple[str, str | None]:
    """Return the address to ask for, and the socket's path where it is one."""
    if text.startswith(("ws://", "wss://")):
        return (text if urlsplit(text).path.strip("/") else text.rstrip("/") + _RPC), None
    if "://" in text and not text.startswith("unix://"):
        raise InvalidArgument(
            f"{text!r} is no address of a daemon", hint="use ws://, wss://, or the path of its socket"
        )
    return f"ws://localhost{_RPC}", text.removeprefix("unix://")


def _refused(error: InvalidStatus, text: str) -> Unauthenticated | DaemonUnavailable | ProtocolError:
    status = error.response.status_code
    said = error.response.body.decode("utf-8", "replace").strip()[:200]
    if status == 401:
        return Unauthenticated(f"the daemon at {text} refuses the token: {said}", hint="get one: boulder daemon token")
    if status == 503:
        return DaemonUnavailable(f"the daemon at {text} takes no connection now: {said}")
    return ProtocolError(f"what answers at {text} refuses the connection: {status} {said}")
