"""A daemon whose service says who came in and echoes: everything but the protocol is the real one."""

from __future__ import annotations

import sys

import anyio

from nexus.abc.service import WorkspaceService
from nexus.abc.transport import Transport
from nexus.daemon.door import Door
from nexus.serving.background import run_in_background


class EchoService:
    """``slow`` is under way until ``done`` comes on any connection; ``drain`` waits for it."""

    def __init__(self, service: WorkspaceService, door: Door) -> None:
        self._service = service
        self._door = door
        self._idle = anyio.Event()
        self._idle.set()

    async def serve(self, transport: Transport) -> None:
        token = transport.peer.token
        if token is None:
            first = await transport.receive()
            token = first if isinstance(first, str) else None
        who = await self._door.admit(transport.peer, token)
        await transport.send(f"hello {who.subject}")
        while True:
            message = await transport.receive()
            if message == "slow":
                self._idle = anyio.Event()
            elif message == "done":
                self._idle.set()
            elif message == "list":
                message = " ".join(entry.name for entry in await self._service.list())
            await transport.send(message)

    async def drain(self) -> None:
        await self._idle.wait()


if __name__ == "__main__":
    sys.exit(run_in_background(EchoService))
