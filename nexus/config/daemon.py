"""The ``daemon`` section of the node's file: where the daemon listens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, JsonValue

from nexus.config.addresses import ListenAddress, is_host, is_loopback
from nexus.config.layers import Branch, KeyPath, LayerKind, child, placed, plain
from nexus.config.problems import Problems
from nexus.config.sources import expand_home
from nexus.config.values import Count, PositiveDuration, PositiveSize, SinglePort, Text
from nexus.models.base import Model
from nexus.models.described import Described
from nexus.models.ports import RESERVED_PORTS, PortRequest
from nexus.models.units import Duration, Size

_SECTION: Final[KeyPath] = ("daemon",)
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+", re.IGNORECASE)


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        msg = "must be what a browser calls the origin of a page, without a path: https://editor.example.com"
        raise ValueError(msg)
    return text


def _domain(text: str) -> str:
    if not is_host(text.removeprefix(".")):
        msg = "must be a host's name or address, without a port: dev.example.com, .example.com, 192.0.2.1"
        raise ValueError(msg)
    return text


Origin = Annotated[str, AfterValidator(_origin)]
Domain = Annotated[str, AfterValidator(_domain)]


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
    insecure: bool | None = None
    """Whether it may listen where other machines reach it without `daemon.tls`: tokens and files can be read on the way then."""
    origins: tuple[Origin, ...] | None = None
    """Web pages that may connect; for example `[https://editor.example.com]`. Without it no page may."""
    domains: tuple[Domain, ...] | None = None
    """Names and addresses that others call it by; for example `[dev.example.com]`. A leading dot stands for every name below."""
    page: bool | None = None
    """Whether its port shows a page to browsers: workspaces, ports, logs, terminals. It takes a token like everything else."""
    drain: PositiveDuration | None = None
    """Time that requests have to end when it is told to stop."""
    log_size: PositiveSize | None = None
    """Size at which its log is put aside and a new one begun."""
    log_files: Annotated[Count, Field(ge=1, le=1000)] | None = None
    """Number of older logs that are kept."""


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
    tcp: bool = False
    """Whether somebody said so; otherwise there is only its Unix socket."""
    tls: TlsFiles | None = None
    """``None``: connections are not encrypted."""
    insecure: bool = False
    """Whether other machines may reach it without encryption."""
    origins: frozenset[str] = frozenset()
    """Web pages that may connect."""
    domains: frozenset[str] = frozenset()
    """Names that it is called by, beside those of this machine."""
    page: bool = False
    """Whether browsers are shown a page, on TCP."""
    drain: Duration = timedelta(seconds=10)
    """Time that requests have to end when it stops."""
    log_size: Size = 10 << 20
    """Bytes."""
    log_files: int = 3
    """Number of older logs that are kept."""

    @property
    def exposed(self) -> bool:
        """Whether it is to listen where other machines reach it, without encryption."""
        return self.tcp and self.tls is None and not is_loopback(self.host)


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
    values["tcp"] = any(_said(merged, key) for key in ("host", "port", "tls")) or values.get("page") is True
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


def _said(merged: Branch, key: str) -> bool:
    node = child(merged, *_SECTION, key)
    return node is not None and node.place.source != LayerKind.BUILT_IN.value


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
    if daemon.exposed:
        place = placed(merged, (*_SECTION, "host"))
        then = "what is sent can be read on the way" if daemon.insecure else "the daemon refuses to start"
        lines.append(
            f"{place}: 'daemon.host' is {daemon.host}, which other machines reach, and there is no 'daemon.tls': {then}"
        )
    for port in ports:
        if port.host == daemon.port and port.protocol == "tcp":
            place, other = placed(merged, ("ports", port.name, "host")), placed(merged, (*_SECTION, "port"))
            lines.append(f"{place}: host port {port.host} of '{port.name}' is the daemon's too ({other})")
    return lines
