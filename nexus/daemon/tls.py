"""Encrypted connections: certificate and key from ``daemon.tls``, and their replacement while connections are open."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

from nexus.errors import ConfigError

_OTHERS_READ: Final = 0o004
_HINT: Final = "correct 'daemon.tls' in the node's file"
_log: Final = logging.getLogger("nexus.daemon")


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return what encrypts a server's connections: TLS 1.2 or newer, no compression, no renegotiation.

    Args:
        cert: The certificate, and those between it and the authority, in PEM.
        key: Its private key, in PEM, not encrypted.

    Raises:
        ConfigError: When one of them cannot be used; says which, and why.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # what TLS 1.2 may use; TLS 1.3 has only good ones
    context.set_alpn_protocols(["http/1.1"])
    _load(context, cert, key)
    return context


def renew(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Have later connections use other files; when they cannot be used, everything stays as it is.

    Args:
        context: The one that is in use.
        cert: As for :func:`server_context`.
        key: As for :func:`server_context`.

    Raises:
        ConfigError: As for :func:`server_context`.
    """
    server_context(cert, key)
    _load(context, cert, key)


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    for path, what in ((cert, "certificate"), (key, "private key")):
        _readable(path, what)
    if key.stat().st_mode & _OTHERS_READ:
        _log.warning("every user of this machine can read the private key %s: chmod 600 %s", key, key)
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigError(f"the certificate {cert} with the key {key} cannot be used: {reason}", hint=_HINT) from error


def _readable(path: Path, what: str) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"the {what} {path} cannot be read: {error.strerror}", hint=_HINT) from error


def _no_passphrase() -> str:
    raise ConfigError("the private key is encrypted, and nobody is there to be asked for its passphrase", hint=_HINT)
