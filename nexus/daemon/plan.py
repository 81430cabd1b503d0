"""Where a daemon listens and whom it talks to there, decided purely from its settings and from what systemd hands over."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from nexus.config import DaemonSettings
from nexus.config.addresses import is_loopback
from nexus.daemon.handshake import HandshakePolicy
from nexus.daemon.principal import Scope
from nexus.errors import ConfigError

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", "0:0:0:0:0:0:0:0"})  # noqa: S104 - to recognise it
PAGE_SCOPES: Final = (Scope.WORKSPACE_READ, Scope.WORKSPACE_WRITE, Scope.TERMINAL)
"""What the page does: workspaces, their ports and logs; and terminals."""


def unix_policy(settings: DaemonSettings) -> HandshakePolicy:
    """Return whom it talks to on a Unix socket, which no browser reaches and where ``Host`` means nothing."""
    return HandshakePolicy(origins=settings.origins, any_host=True)


def tcp_policy(settings: DaemonSettings) -> HandshakePolicy:
    """Return whom it talks to on a TCP port."""
    own = frozenset() if settings.host in _EVERYWHERE else frozenset({settings.host})
    shown: Literal["http", "https"] = "http" if settings.tls is None else "https"
    return HandshakePolicy(
        origins=settings.origins, domains=settings.domains | own, page=shown if settings.page else None
    )


def check_exposure(settings: DaemonSettings, host: str) -> None:
    """Return when it may listen on an address.

    Args:
        settings: Its settings.
        host: The address.

    Raises:
        ConfigError: When other machines reach it there, nothing is encrypted, and nobody has said that this is meant.
    """
    if settings.tls is not None or settings.insecure or is_loopback(host):
        return
    raise ConfigError(
        f"the daemon does not listen on {host} without encryption: tokens and files could be read on the way",
        hint="set 'daemon.tls' in the node's file, or 'daemon.insecure: true' where the network is your own",
    )


def tcp_url(settings: DaemonSettings, host: str, port: int) -> str:
    """Return the address that clients use.

    Args:
        settings: Its settings.
        host: Where it listens.
        port: Where it listens.
    """
    named = sorted(domain for domain in settings.domains if not domain.startswith("."))
    name = host if host not in _EVERYWHERE else (named[0] if named else "127.0.0.1")
    name = f"[{name}]" if ":" in name else name
    return f"{'wss' if settings.tls else 'ws'}://{name}:{port}"


def page_address(url: str, token: str | None = None) -> str:
    """Return where the page of a daemon is.

    Args:
        url: The daemon's address for clients.
        token: Stands behind the ``#``, which browsers send to nobody.
    """
    parts = urlsplit(url)
    plain = f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}/"
    return plain if token is None else f"{plain}#token={token}"
