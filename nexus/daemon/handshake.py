"""What a daemon answers to an HTTP request, decided purely: upgrade it, show its page, say that we are well, or refuse it and why.

Browsers run programs of strangers beside the user's own. Three things keep those out (CVE-2025-52882, CVE-2026-22812): a page may
not choose its ``Origin``, so that only listed ones pass; a name that was rebound to 127.0.0.1 shows in ``Host``, so that only names of
this machine pass; and no request says who it is by where it comes from, so that a token is always needed. The query string is never
looked at: it ends in logs.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from nexus.daemon.page import PAGE_FILES
from nexus.models.base import Model

RPC_PATH: Final = "/v1/rpc"
HEALTH_PATH: Final = "/healthz"
SUBPROTOCOL: Final = "nexus.v1"
BEARER_SUBPROTOCOL: Final = "nexus.bearer."
MAX_HEADER_BYTES: Final = 16 * 1024
"""Request line and headers together."""
HANDSHAKE_SECONDS: Final = 10.0
"""Time that a stranger has until the handshake is over, and again until ``initialize``."""
_NAMES_OF_THIS_MACHINE: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+) *", re.ASCII | re.IGNORECASE)
_WORD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class HandshakePolicy(Model):
    """Who a listener talks to."""

    origins: frozenset[str] = frozenset()
    """Origins of web pages that may connect, such as ``https://editor.example.com``; none by default."""
    domains: frozenset[str] = frozenset()
    """Names that this daemon is called by, beside those of the loopback; ``.example.com`` stands for every name below it."""
    any_host: bool = False
    """Whether ``Host`` may say anything: on a Unix socket, which no browser reaches."""
    page: Literal["http", "https"] | None = None
    """How our own page is reached, whose origin may connect then; ``None``: there is no page."""


class Upgrade(Model):
    """Go on with the WebSocket handshake."""

    subprotocol: str = SUBPROTOCOL
    """What is echoed; never the one that carries the token."""
    token: Annotated[str | None, Field(repr=False)] = None
    """The token that came along; ``None`` when ``initialize`` has to bring one."""


class PageFile(Model):
    """Answer with a file of the page."""

    name: str
    """One of :data:`~nexus.daemon.page.PAGE_FILES`."""


class Reply(Model):
    """Answer with plain text and close."""

    status: int
    body: str
    why: str | None = None
    """What is logged of it; ``None`` for what is nobody's fault."""


Headers = Sequence[tuple[str, str]]


def judge(method: str, target: str, headers: Headers, policy: HandshakePolicy) -> Upgrade | PageFile | Reply:
    """Return what to do with a request.

    Args:
        method: ``GET`` for everything that we know.
        target: Path and query as they were sent.
        headers: Names and values in order; a name may come more than once.
        policy: Who we talk to.
    """
    if sum(len(name) + len(value) + 4 for name, value in headers) + len(target) > MAX_HEADER_BYTES:
        return Reply(status=431, body="too large\n", why="its headers are too large")
    foreign = _foreign_page(headers, policy) or _foreign_name(headers, policy)
    if foreign is not None:
        return foreign
    path = target.partition("?")[0]
    if method != "GET":
        return Reply(status=405, body="not allowed\n", why="its method is not GET")
    return _upgrade(headers) if path == RPC_PATH else _read(path, policy)


def _read(path: str, policy: HandshakePolicy) -> PageFile | Reply:
    if path == HEALTH_PATH:
        return Reply(status=200, body="ok\n")
    if policy.page is not None and path in PAGE_FILES:
        return PageFile(name=PAGE_FILES[path])
    return Reply(status=404, body="not found\n", why="it asked for another path")


def _all(headers: Headers, name: str) -> list[str]:
    return [value.strip() for key, value in headers if key.lower() == name]


def _foreign_page(headers: Headers, policy: HandshakePolicy) -> Reply | None:
    origins = _all(headers, "origin")
    if not origins:  # every browser sends it with a WebSocket handshake, so that this is none
        return None
    if len(origins) == 1 and origins[0].lower() in {origin.lower() for origin in policy.origins} | _own(
        headers, policy
    ):
        return None
    return Reply(status=403, body="forbidden\n", why=f"the origin {printable(origins[0])} is not allowed")


def _own(headers: Headers, policy: HandshakePolicy) -> set[str]:
    """Return the origin of our own page as the browser names it: by the ``Host`` that it asked, which is judged by itself."""
    return {f"{policy.page}://{host.lower()}" for host in _all(headers, "host")} if policy.page is not None else set()


def _foreign_name(headers: Headers, policy: HandshakePolicy) -> Reply | None:
    if policy.any_host:
        return None
    hosts = _all(headers, "host")
    if len(hosts) != 1:
        return Reply(status=400, body="bad request\n", why=f"it has {len(hosts)} Host headers")
    name = host_name(hosts[0])
    if name is not None and (_is_this_machine(name) or is_within(name, policy.domains)):
        return None
    return Reply(
        status=421, body="misdirected\n", why=f"it calls this machine {printable(hosts[0])}, which is none of its names"
    )


def host_name(value: str) -> str | None:
    """Return the name or address in a ``Host`` header, lower case and without port; ``None`` when it holds none."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", value.lower(), re.ASCII)
    return found[1].strip("[]").removesuffix(".") if found else None


def is_within(name: str, domains: frozenset[str]) -> bool:
    """Return whether a name is one of these, or below one that begins with a dot."""
    lowered = {domain.lower() for domain in domains}
    return name in lowered or any(domain.startswith(".") and name.endswith(domain) for domain in lowered)


def _is_this_machine(name: str) -> bool:
    try:
        # An address of digits cannot be rebound; the other addresses of this machine have to be listed all the same.
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in _NAMES_OF_THIS_MACHINE or name.endswith(".localhost")


def _upgrade(headers: Headers) -> Upgrade | Reply:
    offered = [word.strip() for value in _all(headers, "sec-websocket-protocol") for word in value.split(",")]
    if any(not _WORD.fullmatch(word) for word in offered):
        return Reply(status=400, body="bad request\n", why="its sub-protocols are not words")
    if SUBPROTOCOL not in offered:
        return Reply(status=400, body=f"offer the sub-protocol {SUBPROTOCOL}\n", why=f"it does not speak {SUBPROTOCOL}")
    given = _all(headers, "authorization")
    carried = [word.removeprefix(BEARER_SUBPROTOCOL) for word in offered if word.startswith(BEARER_SUBPROTOCOL)]
    if not given and not carried:
        return Upgrade()
    token = _authorization(given) if given else _decoded(carried)
    if token is None:
        source = "its Authorization header" if given else f"what follows {BEARER_SUBPROTOCOL}"
        return Reply(status=401, body="unauthorized\n", why=f"{source} is no bearer token")
    return Upgrade(token=token)


def _authorization(values: Sequence[str]) -> str | None:
    found = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    return found[1] if found else None


def _decoded(words: Sequence[str]) -> str | None:
    if len(words) != 1:
        return None
    text = words[0]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii") or None
    except (binascii.Error, ValueError):
        return None


def bearer_subprotocol(token: str) -> str:
    """Return the sub-protocol that carries a token, for those who can set no header: browsers."""
    return BEARER_SUBPROTOCOL + base64.urlsafe_b64encode(token.encode("ascii")).decode("ascii").rstrip("=")


def printable(text: str) -> str:
    """Return what a stranger sent, short and on one line, for a log."""
    return repr(text[:100])
