"""By which address a workspace's ports are reached: decided when they are leased, and again whenever it starts."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from nexus.config import ORG_KEY
from nexus.errors import ConfigError
from nexus.models.ports import PortMapping
from nexus.ports.addresses import interface_address
from nexus.workspace.context import Context


async def bound(context: Context, mappings: Sequence[PortMapping]) -> tuple[PortMapping, ...]:
    """Return the mappings with the address that the node gives its organisation today.

    Raises:
        ConfigError: When a port is for the organisation and the node names no address, or an interface that has none.
    """
    if not any(mapping.visibility == "org" for mapping in mappings):
        return tuple(mappings)
    address = await _org_address(context)
    return tuple(_at(mapping, address) if mapping.visibility == "org" else mapping for mapping in mappings)


def _at(mapping: PortMapping, address: str) -> PortMapping:
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{mapping.host_port}" if mapping.protocol == "tcp" else None
    return mapping.model_copy(update={"address": address, "url": url})


async def _org_address(context: Context) -> str:
    named = context.settings.org_address
    if named is None:
        raise ConfigError(
            f"a port is for the organisation, but '{ORG_KEY}' is not set on this node",
            hint="set it in the node's file (/etc/nexus/config.yaml)",
        )
    found = await anyio.to_thread.run_sync(interface_address, named)
    if found is None:
        place = next((entry.place for entry in reversed(context.stack.explain(ORG_KEY).layers)), "the node's file")
        raise ConfigError(
            f"{place}: '{ORG_KEY}' is {named}, and no network interface of that name has an IPv4 address",
            hint="'ip -brief address' shows what there is",
        )
    return found
