"""What a node says about its network: which of its addresses the ports of an organisation are bound to."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final

from pydantic import AfterValidator

from nexus.config.layers import Branch, join_key, placed
from nexus.config.problems import Problems, quoted
from nexus.models.described import Described
from nexus.models.ports import PortRequest

ORG_KEY: Final = "network.org_address"
_INTERFACE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", re.ASCII)


def _org_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if _INTERFACE.fullmatch(text):
            return text
        msg = f"must be an address of this machine or the name of a network interface, not {text[:40]!r}"
        raise ValueError(msg) from None
    if address.is_unspecified or address.is_multicast:
        msg = f"must be one address: {text} means every one, and a port for everybody is 'visibility: public'"
        raise ValueError(msg)
    return str(address)


class NetworkSection(Described):
    """The node's network. Only its own file sets this."""

    org_address: Annotated[str, AfterValidator(_org_address)] | None = None
    """Address, or interface by name (`eth1`, `wg0`), that ports with `visibility: org` are reached by."""


def check_org_ports(
    ports: tuple[PortRequest, ...], org_address: str | None, merged: Branch, problems: Problems
) -> None:
    """Find ports for the organisation on a node that does not say where that is.

    Args:
        ports: The ports.
        org_address: What the node says.
        merged: The layers as one tree, for places.
        problems: Gets what is wrong.
    """
    for port in ports if org_address is None else ():
        if port.visibility == "org":
            key = ("ports", port.name, "visibility")
            problems.add(
                placed(merged, key),
                f"{quoted(join_key(key))} is org, but this node does not say by which address its organisation reaches it",
                hint=f"set {ORG_KEY} in the node's file (/etc/nexus/config.yaml), or make the port private or public",
            )
