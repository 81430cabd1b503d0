"""Where the container engine is. A pure decision over the options, the environment and the files that were found.

The order is the one that the ``docker`` program uses, with our option before it: option ``socket`` · ``DOCKER_HOST`` ·
``DOCKER_CONTEXT`` or the current context · ``/var/run/docker.sock`` · the rootless socket · Podman's sockets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, Literal
from urllib.parse import urlsplit

from nexus.errors import ConfigError

SYSTEM_SOCKET: Final = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the certificates for a TCP connection are."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address of one engine."""

    kind: Literal["unix", "tcp"]
    path: str = ""
    """The socket's path, for ``unix``."""
    host: str = ""
    port: int = 0
    tls: TlsFiles | None = None
    origin: str = ""
    """What named it: ``option``, ``DOCKER_HOST``, ``context work``, ``default`` …"""

    @property
    def shown(self) -> str:
        """The address as people write it."""
        if self.kind == "unix":
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What was found outside: read once by :func:`look_around`, then only decided upon."""

    env: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    uid: int = 0
    config: str | None = None
    """The text of ``config.json`` of the docker program."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Context folder (a digest) to the text of its ``meta.json``."""
    files: frozenset[str] = frozenset()
    """Which of the sockets of :func:`well_known` and of the contexts' ``ca.pem`` exist."""


def config_folder(env: Mapping[str, str], home: str) -> str:
    """Return the folder in which the docker program keeps its configuration."""
    return env.get("DOCKER_CONFIG") or f"{home}/.docker"


def well_known(env: Mapping[str, str], home: str, uid: int) -> tuple[str, ...]:
    """Return the sockets that are tried when nothing names one, best first."""
    runtime = env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    found = (
        SYSTEM_SOCKET,
        f"{runtime}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        f"{runtime}/podman/podman.sock",
    )
    return (*found, "/run/podman/podman.sock") if uid == 0 else found


def resolve_endpoint(socket: str | None, around: Surroundings) -> Endpoint:
    """Return where the engine is.

    Args:
        socket: The option: a path, or an address ``unix://…`` or ``tcp://host:port``.
        around: What was found outside.

    Raises:
        ConfigError: When an address or the current context cannot be used; nothing is guessed instead.
    """
    env = around.env
    if socket:
        return parse_address(socket, origin="option socket", tls=_tls_from_env(env, around.home))
    if env.get("DOCKER_HOST"):
        return parse_address(env["DOCKER_HOST"], origin="DOCKER_HOST", tls=_tls_from_env(env, around.home))
    name = env.get("DOCKER_CONTEXT") or _current_context(around.config)
    if name and name != "default":
        return _from_context(name, around)
    candidates = well_known(env, around.home, around.uid)
    path = next((candidate for candidate in candidates if candidate in around.files), SYSTEM_SOCKET)
    return Endpoint(kind="unix", path=path, origin="default")


def parse_address(text: str, *, origin: str, tls: TlsFiles | None = None) -> Endpoint:
    """Return the endpoint that ``text`` names: an absolute path, ``unix://path`` or ``tcp://host[:port]``.

    Raises:
        ConfigError: When it is none of these.
    """
    address = text.strip()
    if address.startswith("/"):
        return Endpoint(kind="unix", path=address, origin=origin)
    scheme, _, rest = address.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return Endpoint(kind="unix", path=rest, origin=origin)
    if scheme in {"tcp", "http", "https"} and rest:
        return _parse_tcp(address, scheme, origin, tls)
    if scheme == "ssh":
        raise ConfigError(
            f"{origin}: an engine behind ssh ({address}) cannot be used directly",
            hint=f"forward its socket: ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock {rest}, and name unix:///tmp/docker.sock",
        )
    raise ConfigError(
        f"{origin}: {address!r} is not the address of a container engine",
        hint="write a path such as /var/run/docker.sock, unix:///path or tcp://host:port",
    )


def _parse_tcp(address: str, scheme: str, origin: str, tls: TlsFiles | None) -> Endpoint:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{origin}: {address!r} is not an address: {exc}", hint="write tcp://host:port") from exc
    if not host or parts.path not in {"", "/"} or parts.query or parts.username:
        raise ConfigError(
            f"{origin}: {address!r} is not the address of a container engine", hint="write tcp://host:port"
        )
    secure = tls if tls is not None else (TlsFiles() if scheme == "https" else None)
    return Endpoint(kind="tcp", host=host, port=port or (2376 if secure else 2375), tls=secure, origin=origin)


def _tls_from_env(env: Mapping[str, str], home: str) -> TlsFiles | None:
    if not env.get("DOCKER_TLS_VERIFY") and not env.get("DOCKER_TLS"):
        return None
    folder = PurePosixPath(env.get("DOCKER_CERT_PATH") or config_folder(env, home))
    return TlsFiles(
        ca=str(folder / "ca.pem"),
        cert=str(folder / "cert.pem"),
        key=str(folder / "key.pem"),
        verify=bool(env.get("DOCKER_TLS_VERIFY")),
    )


def _current_context(config: str | None) -> str | None:
    if not config:
        return None
    try:
        value = json.loads(config)
    except ValueError as exc:
        raise ConfigError(
            f"the docker program's config.json is not JSON: {exc}", hint="repair it, or set DOCKER_HOST"
        ) from exc
    name = value.get("currentContext") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def _from_context(name: str, around: Surroundings) -> Endpoint:
    digest = hashlib.sha256(name.encode()).hexdigest()
    missing = ConfigError(
        f"the docker context {name!r} does not exist or cannot be read",
        hint="docker context ls; docker context use default; or set DOCKER_HOST",
    )
    text = around.contexts.get(digest)
    if text is None:
        raise missing
    try:
        meta = json.loads(text)["Endpoints"]["docker"]
        host = meta["Host"]
    except (ValueError, KeyError, TypeError) as exc:
        raise missing from exc
    if not isinstance(host, str):
        raise missing
    tls = None
    if host.startswith(("tcp://", "https://")):
        folder = PurePosixPath(config_folder(around.env, around.home)) / "contexts" / "tls" / digest / "docker"
        skip = bool(meta.get("SkipTLSVerify", False))
        if f"{folder}/ca.pem" in around.files or skip:
            tls = TlsFiles(
                ca=str(folder / "ca.pem"), cert=str(folder / "cert.pem"), key=str(folder / "key.pem"), verify=not skip
            )
    return parse_address(host, origin=f"context {name}", tls=tls)


def look_around(env: Mapping[str, str], uid: int) -> Surroundings:
    """Read what :func:`resolve_endpoint` decides upon. Blocking; touches files only, opens no connection."""
    home = env.get("HOME") or str(Path("~").expanduser())
    folder = Path(config_folder(env, home))
    contexts: dict[str, str] = {}
    files: set[str] = set()
    for meta in _find(folder, "contexts/meta/*/meta.json"):
        text = _read(meta)
        if text is not None:
            contexts[meta.parent.name] = text
    files.update(str(path) for path in _find(folder, "contexts/tls/*/docker/ca.pem"))
    files.update(path for path in well_known(env, home, uid) if _is_socket(path))
    return Surroundings(
        env=dict(env),
        home=home,
        uid=uid,
        config=_read(folder / "config.json"),
        contexts=contexts,
        files=frozenset(files),
    )


def _find(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        # A home folder that this user may not search is as good as one without the docker program's settings.
        return []


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket()
    except OSError:
        # A folder that may not be searched: the connection will say so in its own words.
        return False
