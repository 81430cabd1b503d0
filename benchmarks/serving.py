"""Run by the benchmarks of the daemon, in a process of its own: a daemon, or a bare echo, until its standard input ends.

Each line there is answered with what the process holds at that moment.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import anyio
import anyio.to_thread
from websockets.asyncio.server import ServerConnection, serve

import nexus
from benchmarks.counting import count


async def echo(connection: ServerConnection) -> None:
    """Send back whatever comes."""
    async for message in connection:
        await connection.send(message)


async def until_end(root: Path) -> None:
    """Count for whoever started this, until they have had enough."""
    while await anyio.to_thread.run_sync(sys.stdin.readline):
        print(json.dumps(asdict(await count(None, root))), flush=True)


async def main(kind: str, root: Path) -> None:
    """Serve, and say where."""
    if kind == "echo":
        async with serve(echo, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            print(json.dumps({"url": f"ws://127.0.0.1:{port}", "token": ""}), flush=True)
            await until_end(root)
        return
    async with nexus.open(root, flags={"backend": "local"}) as nx, nexus.Daemon(nx) as daemon:
        print(json.dumps({"url": daemon.url, "token": daemon.issue_token()}), flush=True)
        await until_end(root)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
