"""Daemons in this process and as real processes, in a home and a runtime folder of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.typing import Subprotocol

from nexus.abc import Clock
from nexus.abc.transport import Peer
from nexus.daemon.discovery import Announcement, announced
from nexus.daemon.launch import start_background
from nexus.daemon.places import Places, places
from nexus.processes import start_time
from nexus.serving.process import Serving
from nexus.socket_address import address
from nexus.state.clock import SystemClock
from tests.daemon.talking import Talker
from tests.unused_ports import unused_port

ROOT = Path(__file__).parents[2]


class Plain:
    """A connection without anything of ours."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.peer = Peer(address="test")

    async def receive(self) -> str | bytes:
        return await self.connection.recv()

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        await self.connection.close(code, reason)


@dataclass
class Daemons:
    """Starts daemons of one repository, and ends what is left of them."""

    root: Path
    home: Path
    started: list[int] = field(default_factory=list)
    clock: Clock = field(default_factory=SystemClock)

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
        return {**kept, "PYTHONPATH": str(ROOT)}

    @property
    def places(self) -> Places:
        return places(self.root, self.env)

    @property
    def log(self) -> str:
        folder = self.home / "data" / "nexus" / f"daemon-{os.geteuid()}"
        return "".join(path.read_text() for path in sorted(folder.glob("*.log*")))

    async def start(
        self, flags: Mapping[str, JsonValue] | None = None, *, module: str = "nexus.serving"
    ) -> Announcement:
        found = await start_background(
            self.root, module=module, flags={"backend": "local", **(flags or {})}, env=self.env
        )
        self.started.append(found.pid)
        return found

    @asynccontextmanager
    async def here(self, flags: Mapping[str, JsonValue] | None = None) -> AsyncGenerator[tuple[Announcement, Serving]]:
        """Be a daemon in this process for the block, and end at once."""
        serving = Serving(self.root, flags={"backend": "local", **(flags or {})}, env=self.env, clock=self.clock)
        ready: list[Announcement] = []
        bell = anyio.Event()

        def note(found: Announcement) -> None:
            ready.append(found)
            bell.set()

        async def run() -> None:
            try:
                await serving.run(ready=note)
            finally:
                bell.set()

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await bell.wait()
            if ready:
                try:
                    yield ready[0], serving
                finally:
                    serving.stop()
                    serving.stop()

    async def logged(self, text: str) -> None:
        """Return once the log says this."""
        while text not in self.log:  # noqa: ASYNC110
            await anyio.sleep(0.02)

    def announced(self) -> Announcement | None:
        return announced(self.places)

    async def gone(self, pid: int) -> None:
        """Return when a process has ended; nobody here has to wait for it."""
        while start_time(pid) is not None:  # noqa: ASYNC110 - the test's own time limit ends the waiting
            await anyio.sleep(0.02)

    @asynccontextmanager
    async def talking(self, found: Announcement, token: str | None = None) -> AsyncGenerator[Known]:
        """Come in over the Unix socket."""
        with address(str(found.socket)) as path:  # a test's folders may be deep
            connection = await unix_connect(
                path,
                "ws://localhost/v1/rpc",
                subprotocols=[Subprotocol("nexus.v1")],
                additional_headers={"Authorization": f"Bearer {token or found.token}"},
            )
        async with connection:
            yield await greeted(connection)

    async def subject(self, found: Announcement, token: str | None = None) -> str:
        """Come in, and return as whom."""
        async with self.talking(found, token) as talker:
            return talker.subject


class Known(Talker):
    """A client that the daemon knows."""

    subject = ""

    @property
    def plain(self) -> ClientConnection:
        assert isinstance(self.transport, Plain)
        return self.transport.connection


async def greeted(connection: ClientConnection) -> Known:
    talker = Known(Plain(connection))
    talker.subject = (await talker.greet(None))["subject"]
    return talker


def over_tcp(url: str, token: str, **more: object) -> connect:
    """Connect to an address."""
    headers = {"Authorization": f"Bearer {token}"}
    return connect(
        f"{url}/v1/rpc",
        subprotocols=[Subprotocol("nexus.v1")],
        additional_headers=headers,
        proxy=None,
        **more,  # type: ignore[arg-type] # tests know what they pass
    )


@pytest.fixture
async def daemons(repository: Path, home: Path) -> AsyncGenerator[Daemons, None]:
    made = Daemons(repository, home)
    yield made
    for pid in made.started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await made.gone(pid)


@pytest.fixture
def free_port() -> int:
    return unused_port()
