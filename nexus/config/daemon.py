"""The ``daemon`` section of the node's file: where the daemon listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from nexus.config.addresses import ListenAddress, is_loopback
from nexus.config.layers import Branch, KeyPath, LayerKind, child, placed, plain
from nexus.config.problems import Problems
from nexus.config.sources import expand_home
from nexus.config.values import SinglePort, Text
from nexus.models.base import Model
from nexus.models.described import Described
from nexus.models.ports import RESERVED_PORTS, PortRequest

_SECTION: Final[KeyPath] = ("daemon",)


class Tls(Described):
    """Certificate and key of the daemon; both or neither."""

    cert: Text | None = None
    """Absolute path of the certificate, in PEM; for example `/etc/nexus/certs/server.crt`."""
    key: Text | None = None
    """Absolute path of its private key, in PEM; for example `/etc/nexus/certs/server.key`."""


class DaemonSection(Described):
    """The daemon, which serves workspaces to editors over a WebSocket."""

    port: SinglePort | None = None
    """TCP port of its WebSocket; no fixed port of a project may be the same."""
    host: ListenAddress | None = None
    """Address it listens on; for example `127.0.0.1` for this machine alone, `0.0.0.0` for all."""
    tls: Tls | None = None
    """Certificate and key; without them what is sent can be read on the way."""


class TlsFiles(Model):
    """Files for encrypted connections."""

    cert: Path
    """The certificate, in PEM. Absolute."""
    key: Path
    """Its private key, in PEM. Absolute."""


class DaemonSettings(Model):
    """Where the daemon is to listen."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls: TlsFiles | None = None
    """``None``: connections are not encrypted."""


def daemon_values(merged: Branch, home: Path | None, problems: Problems) -> dict[str, JsonValue]:
    """Return what :class:`DaemonSettings` is made of.

    Args:
        merged: The layers as one tree.
        home: The home folder, for paths that begin with ``~``.
        problems: Gets a certificate without key, a key without certificate, and paths that are not absolute.
    """
    node = child(merged, *_SECTION)
    found = plain(node) if node is not None else None
    values: dict[str, JsonValue] = dict(found) if isinstance(found, dict) else {}
    tls = values.pop("tls", None)
    named = {key: text for key, text in tls.items() if isinstance(text, str)} if isinstance(tls, Mapping) else {}
    if not named:
        return values
    for key, other in (("cert", "key"), ("key", "cert")):
        if key not in named:
            place = placed(merged, (*_SECTION, "tls", other))
            problems.add(place, f"'daemon.tls.{other}' needs 'daemon.tls.{key}' beside it; encryption takes both")
    files: dict[str, JsonValue] = {}
    for key, text in named.items():
        path = expand_home(text, home)
        if path is None or not path.is_absolute():
            place = placed(merged, (*_SECTION, "tls", key))
            problems.add(place, f"'daemon.tls.{key}' must be an absolute path: the daemon has no folder of its own")
        files[key] = str(path or text)
    return {**values, "tls": files}


def check_daemon(daemon: DaemonSettings, merged: Branch, problems: Problems) -> None:
    """Find a port of the daemon's that is kept for workspaces.

    Args:
        daemon: The settings.
        merged: The layers as one tree, for places.
        problems: Gets what is wrong.
    """
    if daemon.port in RESERVED_PORTS:
        reserved = f"{RESERVED_PORTS.start}-{RESERVED_PORTS.end}"
        place = placed(merged, (*_SECTION, "port"))
        problems.add(place, f"'daemon.port' is {daemon.port}; Nexus keeps {reserved} for workspaces")


def daemon_warnings(daemon: DaemonSettings, ports: Sequence[PortRequest], merged: Branch) -> list[str]:
    """Return what is allowed but worth knowing, one line each, with its place.

    Args:
        daemon: The settings.
        ports: The project's ports.
        merged: The layers as one tree, for places.
    """
    section = child(merged, *_SECTION)
    if section is None or section.place.source == LayerKind.BUILT_IN.value:
        return []  # nobody asked for one, so its usual port is anybody's
    lines: list[str] = []
    if not is_loopback(daemon.host) and daemon.tls is None:
        place = placed(merged, (*_SECTION, "host"))
        lines.append(
            f"{place}: 'daemon.host' is {daemon.host}, which other machines reach, and there is no 'daemon.tls'"
        )
    for port in ports:
        if port.host == daemon.port and port.protocol == "tcp":
            place, other = placed(merged, ("ports", port.name, "host")), placed(merged, (*_SECTION, "port"))
            lines.append(f"{place}: host port {port.host} of '{port.name}' is the daemon's too ({other})")
    return lines
