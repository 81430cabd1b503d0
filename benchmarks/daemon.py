"""Reading a file of 4 KiB over the daemon: beside a bare WebSocket echo of as much, and beside Jupyter Server's contents API.

Server and client are processes of their own. Both sides are asked by a bare ``websockets`` client, so that the servers are compared;
our own client is measured as well. ``make bench-peers`` installs the peer, in a folder of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio.to_thread
from websockets.asyncio.client import ClientConnection, connect

import nexus
from benchmarks.harness import Effort, Measured, Sample, beside
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository

TEXT = "x" * 4095 + "\n"
TIMES = 500
PEER = Path(__file__).parents[1] / ".peers" / "jupyter" / "bin" / "python"
"""Has Jupyter Server: beside our own environment, so that its many requirements do not become ours."""


@contextlib.contextmanager
def serving(kind: str, root: Path) -> Iterator[dict[str, str]]:
    """Run a server in a process of its own; gives its address and token."""
    command = [sys.executable, "-m", "benchmarks.serving", kind, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            if server.stdout is None:
                raise AssertionError
            yield json.loads(server.stdout.readline())
        finally:
            if server.stdin is not None:
                server.stdin.close()
            server.wait(30)


@contextlib.asynccontextmanager
async def bare(place: dict[str, str]) -> AsyncIterator[ClientConnection]:
    """Connect to a daemon with nothing but a WebSocket."""
    async with connect(place["url"], subprotocols=["nexus.v1"], compression=None, max_size=None) as line:  # type: ignore[list-item]
        hello = {"protocol": {"min": 1, "max": 1}, "auth": {"token": place["token"]}}
        await line.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}))
        await line.recv()
        yield line


def asking(line: ClientConnection, message: str) -> Measured:
    """Return what sends a message and waits for the answer, again and again."""

    async def ask() -> float:
        begun = time.perf_counter()
        for _ in range(TIMES):
            await line.send(message)
            await line.recv()
        return (time.perf_counter() - begun) / TIMES

    return ask


def at_once(line: ClientConnection, message: str) -> Measured:
    """Return what sends many messages before it looks at the answers."""

    async def ask() -> float:
        begun = time.perf_counter()
        for _ in range(TIMES // 50):
            for _ in range(50):
                await line.send(message)
            for _ in range(50):
                await line.recv()
        return (time.perf_counter() - begun) / (TIMES // 50 * 50)

    return ask


async def run(effort: Effort) -> list[Sample]:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {"f.txt": TEXT})
        with serving("daemon", root) as daemon, serving("echo", root) as echo:
            async with (
                nexus.connect(daemon["url"], token=daemon["token"]) as client,
                bare(daemon) as ours,
                connect(echo["url"], compression=None) as theirs,
            ):
                workspace = await client.create("one", start=False)
                try:
                    found = await measured(workspace, ours, theirs, effort)
                    return found + await peers(root, ours, effort)
                finally:
                    await workspace.destroy(force=True)


def request() -> str:
    """Return the message that reads the file."""
    params = {"workspace": "one", "path": "f.txt"}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "fs.readFile", "params": params})


async def measured(
    workspace: nexus.Workspace,
    ours: ClientConnection,
    theirs: ClientConnection,
    effort: Effort,
) -> list[Sample]:
    """Measure one file, many at once, and our own client."""

    async def by_our_client() -> float:
        begun = time.perf_counter()
        for _ in range(TIMES):
            await workspace.fs.read_text("f.txt")
        return (time.perf_counter() - begun) / TIMES

    one, many = asking(theirs, TEXT), at_once(theirs, TEXT)
    echo = "bare websockets echo"
    return [
        await beside("fs.readFile 4 KiB", asking(ours, request()), echo, one, effort=effort, at_most=2.0),
        await beside("50 x fs.readFile under way", at_once(ours, request()), echo, many, effort=effort),
        await beside("fs.read_text by our client", by_our_client, echo, one, effort=effort),
    ]


async def peers(root: Path, ours: ClientConnection, effort: Effort) -> list[Sample]:
    """Measure Jupyter Server where it is installed."""
    if not PEER.exists():
        print("daemon: Jupyter Server is not installed (make bench-peers), so it is not measured", file=sys.stderr)
        return []
    with jupyter(root) as (port, token):

        def ask() -> None:
            line = http.client.HTTPConnection("127.0.0.1", port)
            with contextlib.closing(line):
                for _ in range(TIMES // 10):
                    line.request("GET", "/api/contents/f.txt", headers={"Authorization": f"token {token}"})
                    if b"xxx" not in line.getresponse().read():
                        raise AssertionError

        async def theirs(clients: int) -> float:
            begun = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(clients):
                    group.start_soon(anyio.to_thread.run_sync, ask)
            return (time.perf_counter() - begun) / (TIMES // 10 * clients)

        name = "Jupyter Server's contents API"
        alone, together = asking(ours, request()), at_once(ours, request())
        most = 0.1
        return [
            await beside("fs.readFile 4 KiB", alone, name, lambda: theirs(1), effort=effort, at_most=most),
            await beside(
                "50 x fs.readFile under way", together, f"{name}, 10 at once", lambda: theirs(10), effort=effort
            ),
        ]


@contextlib.contextmanager
def jupyter(root: Path) -> Iterator[tuple[int, str]]:
    """Run a Jupyter Server on the same folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    token = os.urandom(16).hex()
    options = [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", "--ServerApp.open_browser=False"]
    command = [str(PEER), "-m", "jupyter_server", *options, f"--ServerApp.root_dir={root}", "--allow-root"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(port)
            yield port, token
        finally:
            server.terminate()
            server.wait(30)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise LookupError("Jupyter Server did not start")
