"""``python -m benchmarks.daemon_load [--quick] [--write]``: a daemon with many clients, some that come and go, some that do not read.

The daemon is a process of its own, which counts what it holds when it is asked: with nobody there, at each height, and at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from pydantic import JsonValue
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

import nexus
from benchmarks import report
from benchmarks.counting import Counts
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository

_LANES: Final = 10
"""Clients that come and go at the same time."""
_SETTLING: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is done."""

    clients: int = 200
    """Clients that are there at once, each of which looks at a terminal, follows events and reads a file."""
    reconnects: int = 1_000
    """Connections that die without a word; each next one goes on with the session."""
    slow: int = 20
    """Clients that look at a terminal and take nothing."""
    printed: int = 64 << 20
    """Bytes that it prints meanwhile."""


FULL: Final = Load()
QUICK: Final = Load(clients=20, reconnects=50, slow=3, printed=2 << 20)


class Server:
    """A daemon in a process of its own.

    Args:
        process: It.
        url: Where it listens.
        token: What it lets in.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._process = process

    async def count(self) -> Counts:
        """Return what it holds now."""
        return Counts(**json.loads(await anyio.to_thread.run_sync(self._ask)))

    async def settled(self, before: Counts) -> Counts:
        """Return what it holds once what is on its way out has gone."""
        with anyio.move_on_after(_SETTLING):
            while grown(before, await self.count()):  # noqa: ASYNC110 - what goes rings no bell
                await anyio.sleep(0.1)
        return await self.count()

    def _ask(self) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """Run a daemon."""
    command = [sys.executable, "-m", "benchmarks.serving", "daemon", str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise AssertionError
            place = json.loads(process.stdout.readline())
            yield Server(process, place["url"], place["token"])
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(30)


def grown(before: Counts, after: Counts) -> tuple[str, ...]:
    """Return what there is more of; memory is not counted in things."""
    return tuple(name for name in ("descriptors", "tasks", "children") if getattr(after, name) > getattr(before, name))


@dataclass(kw_only=True)
class Outcome:
    """What there was at each moment."""

    load: Load
    moments: dict[str, Counts] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def grown(self) -> tuple[str, ...]:
        """What there is more of at the end than at the beginning."""
        first, *_, last = self.moments.values()
        return grown(first, last)


@asynccontextmanager
async def many(server: Server, count: int) -> AsyncGenerator[list[nexus.Terminal], None]:
    """Have many clients at once; gives what each sees of the same terminal."""
    async with AsyncExitStack() as stack:
        seen: list[nexus.Terminal] = []
        for _ in range(count):
            client = await stack.enter_async_context(nexus.connect(server.url, token=server.token))
            workspace = await client.attach("one")
            await workspace.fs.read_text("f")
            await stack.enter_async_context(client.events())
            (info,) = await workspace.terminals.list()
            seen.append(await workspace.terminals.attach(info.id, role="viewer", replay="none"))
        yield seen


async def come_and_go(server: Server, times: int) -> None:
    """Connect again and again; each connection dies without a word, and the next goes on with its session."""
    hello: dict[str, JsonValue] = {"protocol": {"min": 1, "max": 1}, "auth": {"token": server.token}}
    resume: JsonValue = None
    for _ in range(times):
        line = await connect(server.url, subprotocols=[Subprotocol("nexus.v1")], compression=None)
        answer = await ask(line, "initialize", hello if resume is None else {**hello, "resume": resume})
        if answer["resumed"] is not (resume is not None):
            raise AssertionError(answer)
        resume = {"sessionId": answer["sessionId"], "resumeToken": answer["resumeToken"]}
        await ask(line, "fs.readFile", {"workspace": "one", "path": "f"})
        line.transport.abort()
        await line.wait_closed()
    client = await connect(server.url, subprotocols=[Subprotocol("nexus.v1")], compression=None)
    async with client as line:
        await ask(line, "initialize", {**hello, "resume": resume})
        await ask(line, "session.close", {})


async def ask(line: ClientConnection, method: str, params: JsonValue) -> dict[str, JsonValue]:
    """Ask, and return the result."""
    await line.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    answer = json.loads(await line.recv())
    found: dict[str, JsonValue] = answer["result"]
    return found


async def flood(workspace: nexus.Workspace, size: int) -> None:
    """Have a terminal print so much, and read all of it."""
    async with workspace.terminals.open("sh", "-c", f"stty raw; head -c {size} /dev/zero") as terminal:
        count = 0
        async for data in terminal:
            count += len(data)
        if count < size:
            msg = f"{count} of {size} bytes came"
            raise AssertionError(msg)


async def measured(server: Server, load: Load) -> Outcome:
    """Load a daemon that serves a workspace ``one``, and count."""
    outcome = Outcome(load=load)

    async def moment(name: str, act: Callable[[], Awaitable[object]]) -> None:
        begun = time.perf_counter()
        await act()
        outcome.seconds[name] = time.perf_counter() - begun
        outcome.moments[name] = await server.settled(outcome.moments["nobody"])

    async with nexus.connect(server.url, token=server.token) as client:
        workspace = await client.attach("one")
        terminal = await workspace.terminals.open("cat")
        async with many(server, 2):
            pass
        await come_and_go(server, 2)
        await flood(workspace, 1 << 20)
        outcome.moments["nobody"] = await server.count()
        begun = time.perf_counter()
        async with many(server, load.clients):
            outcome.moments[f"{load.clients} clients"] = await server.count()
        outcome.seconds[f"{load.clients} clients"] = time.perf_counter() - begun

        async def lanes() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(_LANES):
                    group.start_soon(come_and_go, server, load.reconnects // _LANES)

        await moment(f"after {load.reconnects:,} reconnects", lanes)
        await terminal.kill()
        loud = await workspace.terminals.open(
            "sh", "-c", f"stty raw -echo; read x; head -c {load.printed} /dev/zero; read x"
        )
        async with many(server, load.slow):
            begun = time.perf_counter()
            await loud.write("\r\n")
            seen = 0
            async for data in loud:
                seen += len(data)
                if seen >= load.printed:
                    break
            outcome.seconds[f"{load.slow} that do not read"] = time.perf_counter() - begun
            outcome.moments[f"{load.slow} that do not read"] = await server.count()
        await loud.kill()
        terminal = await workspace.terminals.open("cat")
        outcome.moments["at the end"] = await server.settled(outcome.moments["nobody"])
        await terminal.kill()
    return outcome


def section(machine: str, outcome: Outcome) -> str:
    """Return the section of the page."""
    body = [
        (
            name,
            f"{counts.descriptors}",
            f"{counts.tasks}",
            f"{counts.threads}",
            f"{counts.memory:.1f} MiB",
            f"{outcome.seconds[name]:.1f} s" if name in outcome.seconds else "",
        )
        for name, counts in outcome.moments.items()
    ]
    grid = report.grid(("", "descriptors", "tasks", "threads", "memory", "took"), body)
    verdict = f"Grown: {', '.join(outcome.grown)}." if outcome.grown else "Nothing has grown."
    printed = f"{outcome.load.printed / (1 << 20):g} MiB printed to those that do not read"
    return f"{machine}. {printed}.\n\n{grid}\n\n{verdict}"


async def run(load: Load) -> Outcome:
    """Serve a new repository with one workspace, and load it."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {"f": "x" * 4096})
        with serving(root) as server:
            async with nexus.connect(server.url, token=server.token) as client:
                workspace = await client.create("one")
            try:
                return await measured(server, load)
            finally:
                with anyio.CancelScope(shield=True):
                    async with nexus.connect(server.url, token=server.token) as client:
                        await client.destroy(workspace.name, force=True)


def main() -> None:
    """Read the options, run, print; a status other than zero when something has grown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.daemon_load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little work: to see that it runs")
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmarks.md")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what a quick run measures is not worth writing down")
    outcome = anyio.run(run, QUICK if options.quick else FULL)
    content = section(report.machine("local backend"), outcome)
    print(content)
    if options.write:
        report.write_section("daemon-load", content)
    sys.exit(1 if outcome.grown else 0)


if __name__ == "__main__":
    main()
