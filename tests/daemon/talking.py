"""A client by hand: says exactly what a test wants said, shows exactly what comes, and holds the daemon to its OpenRPC document."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

import nexus
from nexus.abc.transport import Transport
from nexus.daemon.daemon import Daemon
from nexus.wire.frames import Flag, Frame, Kind, decode
from tests.daemon.promised import check

PATIENCE = 20.0


class Talker:
    """One connection."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.frames: list[Frame] = []
        self.notices: list[dict[str, Any]] = []
        self.answers: dict[Any, dict[str, Any]] = {}
        self._last = 0
        self._arrived = 0

    async def send(self, message: str | bytes) -> None:
        with anyio.fail_after(PATIENCE):
            await self.transport.send(message)

    async def ask(self, method: str, **params: Any) -> int:
        self._last += 1
        await self.send(json.dumps({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}))
        return self._last

    async def tell(self, method: str, **params: Any) -> None:
        await self.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def hear(self) -> None:
        with anyio.fail_after(PATIENCE):
            message = await self.transport.receive()
        if isinstance(message, bytes):
            frame = decode(message, most=1 << 20)
            self.frames.append(frame)
            if frame.payload:
                self._arrived += len(frame.payload)
                await self.send(Frame(Kind.WINDOW, 0, self._arrived).encode())
            return
        value = json.loads(message)
        if "method" in value:
            self.notices.append(value)
        else:
            self.answers[value["id"]] = value

    async def answer(self, asked: int | None) -> Any:
        while asked not in self.answers:
            await self.hear()
        return self.answers.pop(asked)

    async def call(self, method: str, **params: Any) -> Any:
        answer = await self.answer(await self.ask(method, **params))
        assert "result" in answer, answer
        check(method, answer["result"])
        return answer["result"]

    async def refused(self, method: str, **params: Any) -> Any:
        answer = await self.answer(await self.ask(method, **params))
        assert "error" in answer, answer
        return answer["error"]

    async def notice(self, method: str) -> Any:
        while True:
            for at, notice in enumerate(self.notices):
                if notice["method"] == method:
                    check(method, notice["params"])
                    return self.notices.pop(at)["params"]
            await self.hear()

    async def greet(self, token: str | None, **more: Any) -> Any:
        auth = {} if token is None else {"auth": {"token": token}}
        answer = await self.call("initialize", protocol={"min": 1, "max": 1}, **auth, **more)
        await self.tell("initialized")
        return answer

    async def stream(self, stream: int) -> bytes:
        """Everything of a stream, granting credit as it comes."""
        data = bytearray()
        while True:
            for frame in [frame for frame in self.frames if frame.stream == stream]:
                self.frames.remove(frame)
                if frame.kind is Kind.END:
                    assert frame.offset == len(data)
                    return bytes(data)
                assert frame.kind is Kind.DATA
                assert not frame.flags & Flag.SKIP
                assert frame.offset == len(data)
                data += frame.payload
                await self.send(Frame(Kind.WINDOW, stream, len(data)).encode())
            await self.hear()


@asynccontextmanager
async def talking(daemon: Daemon, token: str | None = None) -> AsyncGenerator[Talker, None]:
    transport = await daemon.dial()
    talker = Talker(transport)
    try:
        await talker.greet(token or daemon.issue_token())
        yield talker
    finally:
        await transport.aclose()


@asynccontextmanager
async def stranger(daemon: Daemon) -> AsyncGenerator[Talker, None]:
    transport = await daemon.dial()
    try:
        yield Talker(transport)
    finally:
        await transport.aclose()


async def eventually(question: Callable[[], bool]) -> None:
    """Return when it is so."""
    with anyio.fail_after(PATIENCE):
        while not question():  # noqa: ASYNC110 - what is asked rings no bell
            await anyio.sleep(0.01)


@asynccontextmanager
async def served(nx: nexus.WorkspaceManager, **options: Any) -> AsyncGenerator[Daemon, None]:
    async with Daemon(nx, host=None, **options) as daemon:
        yield daemon
