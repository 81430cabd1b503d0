"""The kinds of value that name another program or machine: an engine, a web service, an address to listen on."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

from nexus.config.redact import reference_name
from nexus.config.values import Text

_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?", re.ASCII)
_LONGEST_HOST: Final = 253


def is_host(text: str) -> bool:
    """Return whether a text is an IP address or can be the name of a host."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # What is all digits and dots and no address is a slip, never a name.
        return bool(_HOST_NAME.fullmatch(text)) and len(text) <= _LONGEST_HOST and not re.fullmatch(r"[0-9.]+", text)
    return True


def is_loopback(text: str) -> bool:
    """Return whether only this machine reaches what listens on this address."""
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return text.rstrip(".").lower() == "localhost"


def _listening(text: str) -> str:
    if not is_host(text):
        msg = "must be an IP address or a host's name, without a port: 127.0.0.1, ::1, 0.0.0.0"
        raise ValueError(msg)
    return text


def _address(text: str, *, schemes: frozenset[str], what: str) -> None:
    if re.search(r"\s", text):
        raise ValueError(what)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # the port is read here and refused when it is none
    except ValueError:
        raise ValueError(what) from None
    if parts.scheme not in schemes or not host or not is_host(host):
        raise ValueError(what)
    if parts.username is not None or parts.password is not None:
        msg = "must not hold a name or a password; they would be shown wherever the address is"
        raise ValueError(msg)


def _web(text: str) -> str:
    if reference_name(text) is None:
        _address(
            text, schemes=frozenset({"http", "https"}), what="must be a web address such as https://api.sprites.dev"
        )
    return text


def _engine(text: str) -> str:
    what = "must be a container engine's socket or address: /var/run/docker.sock, unix:///path or tcp://host:port"
    scheme, separator, rest = text.partition("://")
    if reference_name(text) is not None or text.startswith("/") or (scheme == "unix" and rest.startswith("/")):
        return text
    if scheme == "ssh" and separator:
        msg = f"must not be an engine behind ssh: forward its socket and name that ({what.removeprefix('must be ')})"
        raise ValueError(msg)
    _address(text, schemes=frozenset({"tcp", "http", "https"}), what=what)
    return text


ListenAddress = Annotated[Text, AfterValidator(_listening)]
WebAddress = Annotated[Text, AfterValidator(_web)]
EngineAddress = Annotated[Text, AfterValidator(_engine)]
