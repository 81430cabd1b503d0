"""A network of its own for each workspace, cut from our own pool: the engine's default pools end at about thirty networks."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

import anyio.to_thread
from pydantic import JsonValue

from nexus.errors import ProviderError
from nexus.models.instances import LABEL_WORKSPACE
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.failures import EngineRefused, is_overlap
from nexus.providers.docker.options import DockerOptions
from nexus.providers.docker.shielding import make_or_unmake

_TRIES: Final = 64
_ROUTE: Final = re.compile(r"^\S+\s+([0-9A-F]{8})\s+[0-9A-F]{8}\s+(?:\S+\s+){4}([0-9A-F]{8})\s", re.MULTILINE)
_DEADLINE: Final = 30.0


class Endpoint(Answer):
    """A container on a network."""

    name: str = ""


class Network(Answer):
    """A network, as the engine describes it."""

    id: str
    name: str = ""
    labels: Mapping[str, str] | None = None
    containers: Mapping[str, Endpoint] | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The network that a workspace is to use."""

    name: str
    made: str | None = None
    """Its id, when this call made it: what the same call may remove again, and nothing else."""


def network_name(options: DockerOptions, name: str, number: str) -> str:
    """Return the name of a workspace's network."""
    return f"{options.network}-{name}-{number[:8]}"


def candidates(pool: IPv4Network, prefix: int, seed: str) -> Iterator[IPv4Network]:
    """Give subnets of a pool in an order of the seed's own: always the same start, then spread over the whole pool."""
    count = 1 << (prefix - pool.prefixlen)
    digest = hashlib.sha256(seed.encode()).digest()
    start = int.from_bytes(digest[:8]) % count
    # An odd step meets every one of a power of two exactly once, and two workspaces rarely walk the same way.
    step = (int.from_bytes(digest[8:16]) % count) | 1
    size = 1 << (32 - prefix)
    base = int(pool.network_address)
    for index in range(count):
        yield IPv4Network((base + ((start + index * step) % count) * size, prefix))


def parse_routes(text: str) -> tuple[IPv4Network, ...]:
    """Return the networks of the host's routing table (``/proc/net/route``), without the default route."""
    found: list[IPv4Network] = []
    for destination, mask in _ROUTE.findall(text):
        if int(mask, 16) == 0:
            continue
        address = IPv4Address(int.from_bytes(bytes.fromhex(destination), "little"))
        netmask = IPv4Address(int.from_bytes(bytes.fromhex(mask), "little"))
        found.append(IPv4Network(f"{address}/{netmask}", strict=False))
    return tuple(found)


def free_candidates(pool: IPv4Network, prefix: int, seed: str, taken: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
    """Give the candidates that no known route leads into."""
    used = [network for network in taken if network.overlaps(pool)]
    return (
        subnet for subnet in candidates(pool, prefix, seed) if not any(subnet.overlaps(network) for network in used)
    )


def _read_routes() -> tuple[IPv4Network, ...]:
    try:
        return parse_routes(Path("/proc/net/route").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return ()


async def find_networks(engine: Engine, number: str) -> tuple[Network, ...]:
    """Return the networks that carry a workspace's label."""
    return await list_networks(engine, {LABEL_WORKSPACE: number})


async def list_networks(engine: Engine, labels: Mapping[str, str]) -> tuple[Network, ...]:
    """Return every network that carries these labels; an empty value matches any."""
    wanted = [f"{key}={value}" if value else key for key, value in labels.items()]
    async with engine.door("list networks", deadline=_DEADLINE) as docker:
        raw = await docker.networks.list(filters={"label": wanted})
    return tuple(parse(Network, entry) for entry in raw)


async def ensure_network(
    engine: Engine, options: DockerOptions, *, name: str, number: str, labels: Mapping[str, str]
) -> Chosen:
    """Return the workspace's network; make it when there is none.

    The engine's own check for a second one of the same name is not reliable, so calls for one workspace take turns.

    Raises:
        ProviderError: When the pool has no free subnet.
    """
    found = await find_networks(engine, number)
    if found:
        return Chosen(found[0].name)
    return await make_network(engine, options, name=name, number=number, labels=labels)


async def make_network(
    engine: Engine, options: DockerOptions, *, name: str, number: str, labels: Mapping[str, str]
) -> Chosen:
    """Make a workspace's network, and return it. One of its name that is the workspace's is as good.

    Raises:
        ProviderError: When the pool has no free subnet, or somebody else's network has its name.
    """
    title = network_name(options, name, number)
    # Routes of this host say nothing about an engine elsewhere.
    taken = await anyio.to_thread.run_sync(_read_routes) if engine.endpoint.kind == "unix" else ()
    choices = free_candidates(options.subnet_pool, options.subnet_prefix, number, taken)
    for subnet in itertools.islice(choices, _TRIES):
        try:
            made = await make_or_unmake(
                _create(engine, title, subnet, labels),
                lambda network: remove_network(engine, network),
                limit=2 * _DEADLINE,
            )
            return Chosen(title, made=made)
        except EngineRefused as exc:
            if is_overlap(exc):
                continue
            if exc.status == 409 and "already exists" in exc.text:
                return await _adopt(engine, title, number, exc)
            raise
    raise ProviderError(
        f"no free network of 16 addresses was found in {options.subnet_pool}",
        hint="destroy workspaces you no longer need, or set backends.docker.subnet_pool to another private network",
        details={"pool": str(options.subnet_pool)},
    )


async def _create(engine: Engine, title: str, subnet: IPv4Network, labels: Mapping[str, str]) -> str:
    body: dict[str, JsonValue] = {
        "Name": title,
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(subnet)}]},
        "Labels": {**labels},
    }
    async with engine.busy_door("create a network", deadline=_DEADLINE) as docker:
        return str((await docker.networks.create(body)).id)


async def _adopt(engine: Engine, title: str, number: str, refusal: EngineRefused) -> Chosen:
    """Return the network that another call for the same workspace made a moment ago."""
    if any(network.name == title for network in await find_networks(engine, number)):
        return Chosen(title)
    raise ProviderError(
        f"a network named {title} is there already and is not ours", hint=f"docker network rm {title}"
    ) from refusal


async def remove_networks(engine: Engine, number: str) -> None:
    """Remove the networks of a workspace, whoever is still connected to them. None there: nothing."""
    for network in await find_networks(engine, number):
        await remove_network(engine, network.id)


async def remove_network(engine: Engine, network: str) -> None:
    """Remove one network by its id, whoever is still connected to it. Not there: nothing."""
    try:
        await _remove(engine, network)
    except EngineRefused as exc:
        if exc.status == 404:
            return
        if "active endpoints" not in exc.text:
            raise
        await _disconnect_all(engine, network)
        await _remove(engine, network)


async def _remove(engine: Engine, network: str) -> None:
    async with engine.stream("remove a network", "DELETE", f"networks/{network}", deadline=_DEADLINE):
        pass


async def _disconnect_all(engine: Engine, network: str) -> None:
    async with engine.stream("look at a network", "GET", f"networks/{network}") as reply:
        found = parse(Network, await reply.json(content_type=None))
    for container in found.containers or {}:
        await disconnect(engine, network, container)


async def disconnect(engine: Engine, network: str, container: str) -> None:
    """Take a container off a network. Not on it: nothing."""
    body: dict[str, JsonValue] = {"Container": container, "Force": True}
    try:
        async with engine.stream("disconnect a network", "POST", f"networks/{network}/disconnect", json=body):
            pass
    except EngineRefused as exc:
        if exc.status not in {403, 404, 500} or "not connected" not in exc.text:
            raise


async def connect(engine: Engine, network: str, container: str) -> None:
    """Put a container on a network."""
    body: dict[str, JsonValue] = {"Container": container}
    async with engine.stream("connect a network", "POST", f"networks/{network}/connect", json=body):
        pass
