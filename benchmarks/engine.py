"""The engine's own calls, as bare as they can be made: the limit that ours are measured against."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiodocker
import anyio
from pydantic import JsonValue

import nexus
from nexus.testing.engines import running_engine
from nexus.testing.git import make_repository
from nexus.testing.images import TINY_IMAGE, import_tiny_image

_KEEP_ALIVE = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"]
_FILES = 100
PORTS: dict[str, JsonValue] = {"ports.web.container": 3000}


class BareEngine:
    """A workspace's worth of engine calls: one network, one container with one published port, one command.

    It is asked for less than a workspace asks for: no folder is mounted, nothing is limited, no capability is taken away, and no tree
    is written. All of that counts against ours.
    """

    def __init__(self, docker: aiodocker.Docker) -> None:
        self._docker = docker
        self._networks: dict[str, Any] = {}
        self._subnets = (f"10.88.{number % 250}.0/28" for number in count())

    async def version(self) -> str:
        """Return the engine's version."""
        return str((await self._docker.version())["Version"])

    async def up(self) -> Any:  # noqa: ANN401 - the library's own untyped container
        """Make a network and a running container."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        network = await self._docker.networks.create(
            {"Name": name, "Driver": "bridge", "IPAM": {"Config": [{"Subnet": next(self._subnets)}]}}
        )
        container = await self.beside(name, ports=True)
        self._networks[container.id] = network
        return container

    async def beside(self, network: str, *, ports: bool = False) -> Any:  # noqa: ANN401
        """Make a running container on a network that is there."""
        published = {"PortBindings": {"3000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}} if ports else {}
        container = await self._docker.containers.create(
            {
                "Image": TINY_IMAGE,
                "Cmd": _KEEP_ALIVE,
                "ExposedPorts": {"3000/tcp": {}} if ports else {},
                "HostConfig": {"Init": True, "NetworkMode": network, **published},
            },
            name=f"bench-{uuid.uuid4().hex[:8]}",
        )
        await container.start()
        return container

    async def first_byte(self, container: Any) -> None:  # noqa: ANN401
        """Run ``echo`` inside and wait for what it prints."""
        execution = await container.exec(["echo", "x"])
        async with execution.start(detach=False) as stream:
            await stream.read_out()

    async def run(self, container: Any) -> None:  # noqa: ANN401
        """Run ``true`` inside and wait for its end, as whoever wants to know whether it succeeded."""
        execution = await container.exec(["true"])
        async with execution.start(detach=False) as stream:
            while await stream.read_out() is not None:
                pass

    async def down(self, container: Any) -> None:  # noqa: ANN401
        """Remove a container, and the network that was made for it."""
        await container.delete(force=True, v=True)
        network = self._networks.pop(container.id, None)
        if network is not None:
            await network.delete()


@asynccontextmanager
async def engine_for(folder: Path) -> AsyncGenerator[tuple[str, BareEngine], None]:
    """Give the address of an engine with the tiny image on it, and its bare calls; a repository is made in ``folder``."""
    async with running_engine() as socket:
        await import_tiny_image(socket)
        root = folder / "app"
        await anyio.to_thread.run_sync(make_repository, root, {f"src/f{n}.py": f"x = {n}\n" for n in range(_FILES)})
        async with aiodocker.Docker(url=socket) as docker:
            yield socket, BareEngine(docker)


@asynccontextmanager
async def opened(
    folder: Path, socket: str, more: dict[str, JsonValue] | None = None
) -> AsyncGenerator[nexus.WorkspaceManager, None]:
    """Open the repository for workspaces on that engine."""
    flags: dict[str, JsonValue] = {"backend": "docker", "image": TINY_IMAGE, "backends.docker.socket": socket}
    async with nexus.open(folder / "app", flags={**flags, **PORTS, **(more or {})}) as nx:
        yield nx
