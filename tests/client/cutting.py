"""A proxy that cuts connections: between client and daemon, at any byte, as often as a test wants."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute

import nexus
from nexus.daemon.daemon import Daemon
from tests.workbench import Bench

QUICK = nexus.Backoff(first=0.01, longest=0.1, give_up_after=20)
"""Enough to come back on a busy machine."""


class Proxy:
    """Passes bytes on."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._path = parts.path
        self.url = ""
        self.cuts = 0
        self.frozen = False
        self.passed = 0
        self.refusing = False
        self._open: set[anyio.CancelScope] = set()
        self._go = anyio.Event()

    def cut(self) -> None:
        """End every connection at once, in the middle of whatever it carries."""
        for scope in tuple(self._open):
            self.cuts += 1
            scope.cancel()

    def freeze(self) -> None:
        """Pass nothing on, and close nothing: a half-open connection."""
        self.frozen, self._go = True, anyio.Event()

    def thaw(self) -> None:
        self.frozen = False
        self._go.set()

    async def _serve(self, client: ByteStream) -> None:
        if self.refusing:
            await client.aclose()
            return
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with (
                    client,
                    await anyio.connect_tcp(self._host, self._port) as daemon,
                    anyio.create_task_group() as group,
                ):
                    group.start_soon(self._pass, client, daemon, group.cancel_scope)
                    group.start_soon(self._pass, daemon, client, group.cancel_scope)
            except* (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass
            finally:
                self._open.discard(scope)

    async def _pass(self, source: ByteStream, target: ByteStream, scope: anyio.CancelScope) -> None:
        try:
            while True:
                data = await source.receive()
                if self.frozen:
                    await self._go.wait()
                self.passed += len(data)
                await target.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()


@asynccontextmanager
async def cutting(target: str) -> AsyncGenerator[Proxy, None]:
    """Run a proxy before a daemon."""
    proxy = Proxy(target)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    proxy.url = f"ws://127.0.0.1:{port}{urlsplit(target).path}"
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, proxy._serve)
        yield proxy
        group.cancel_scope.cancel()


@asynccontextmanager
async def behind_a_proxy(
    bench: Bench, *, backoff: nexus.Backoff = QUICK, **options: object
) -> AsyncGenerator[tuple[nexus.NexusClient, Proxy, Daemon], None]:
    async with (
        bench.open() as nx,
        nexus.Daemon(nx, **options) as daemon,  # type: ignore[arg-type]
        cutting(daemon.url) as proxy,
        nexus.connect(proxy.url, token=daemon.issue_token(), backoff=backoff) as client,
    ):
        try:
            yield client, proxy, daemon
        finally:
            for entry in await nx.list():
                await nx.destroy(entry.name, force=True)


async def cut_now_and_then(proxy: Proxy, chance: random.Random, times: int, *, within: int = 600_000) -> None:
    """Cut after a random number of bytes, again and again."""
    for _ in range(times):
        goal = proxy.passed + chance.randrange(1, within)
        while proxy.passed < goal:  # noqa: ASYNC110 - what passes rings no bell
            await anyio.sleep(0.001)
        proxy.cut()
