"""Run by the benchmark of the daemon, in a process of its own: a daemon, or a bare echo, until its standard input ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from websockets.asyncio.server import ServerConnection, serve

import nexus


async def echo(connection: ServerConnection) -> None:
    """Send back whatever comes."""
    async for message in connection:
        await connection.send(message)


async def until_end() -> None:
    """Wait until whoever started this has had enough."""
    await anyio.to_thread.run_sync(sys.stdin.read)


async def main(kind: str, root: Path) -> None:
    """Serve, and say where."""
    if kind == "echo":
        async with serve(echo, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            print(json.dumps({"url": f"ws://127.0.0.1:{port}", "token": ""}), flush=True)
            await until_end()
        return
    async with nexus.open(root, flags={"backend": "local"}) as nx, nexus.Daemon(nx) as daemon:
        print(json.dumps({"url": daemon.url, "token": daemon.issue_token()}), flush=True)
        await until_end()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
