"""The engine's own calls, as bare as they can be made: the limit that ours are measured against."""

from __future__ import annotations

import uuid
from typing import Any

import aiodocker

from nexus.testing.images import TINY_IMAGE

_KEEP_ALIVE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"]


class BareEngine:
    """A workspace's worth of engine calls: one network, one container with one published port, one command."""

    def __init__(self, docker: aiodocker.Docker) -> None:
        self._docker = docker
        self._networks: list[Any] = []

    async def up(self, subnet: str) -> Any:  # noqa: ANN401 - the library's own untyped container
        """Make a network and a running container."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        network = await self._docker.networks.create(
            {"Name": name, "Driver": "bridge", "IPAM": {"Config": [{"Subnet": subnet}]}}
        )
        self._networks.append(network)
        container = await self._docker.containers.create(
            {
                "Image": TINY_IMAGE,
                "Cmd": _KEEP_ALIVE,
                "ExposedPorts": {"3000/tcp": {}},
                "HostConfig": {
                    "Init": True,
                    "NetworkMode": name,
                    "PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
                },
            },
            name=name,
        )
        await container.start()
        return container

    async def first_byte(self, container: Any) -> None:  # noqa: ANN401
        """Run ``echo`` inside and wait for what it prints."""
        execution = await container.exec(["echo", "x"])
        async with execution.start(detach=False) as stream:
            await stream.read_out()

    async def down(self, container: Any) -> None:  # noqa: ANN401
        """Remove the container and its network."""
        await container.delete(force=True)
        await self._networks.pop().delete()
