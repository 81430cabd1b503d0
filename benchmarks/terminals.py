"""Terminals on this host: bytes a second through a terminal of ours beside a bare one, and key → echo beside a bare one.

Both in process and through a daemon, which is a process of its own then.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import tempfile
import termios
import time
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

import nexus
from benchmarks.daemon import serving
from benchmarks.harness import Effort, Sample, beside
from benchmarks.surroundings import isolated
from nexus.testing.git import make_repository

_BULK = 16 * 1024 * 1024
_PROGRAM = ("sh", "-c", f"stty raw; head -c {_BULK} /dev/zero")


async def run(effort: Effort) -> list[Sample]:
    """Measure with one client attached, as an editor or a person is."""
    with tempfile.TemporaryDirectory() as folder, isolated(Path(folder)):
        root = Path(folder) / "app"
        make_repository(root, {"f": "x\n"})
        async with nexus.open(root, flags={"backend": "local"}) as nx:
            ws = await nx.create("terminals")
            found = await _measured(ws, "local", effort)
            await ws.destroy()
        with serving("daemon", root) as place:
            async with nexus.connect(place["url"], token=place["token"]) as client:
                remote = await client.create("terminals")
                found += await _measured(remote, "through a daemon", effort)
                await remote.destroy()
        return found


async def _measured(ws: nexus.Workspace, where: str, effort: Effort) -> list[Sample]:
    async def ours() -> float:
        begun, count = time.perf_counter(), 0
        async with ws.terminals.open(*_PROGRAM) as terminal:
            async for data in terminal:
                count += len(data)
            seconds = time.perf_counter() - begun
        assert count >= _BULK
        return seconds

    flow = await beside(
        f"{_BULK >> 20} MiB through a terminal, {where}",
        ours,
        "a bare terminal",
        lambda: anyio.to_thread.run_sync(_bare_flow),
        effort=effort,
    )
    async with ws.terminals.open("cat") as terminal:
        await terminal.write("\n")
        await _until(terminal, b"\n")

        async def echo() -> float:
            begun = time.perf_counter()
            await terminal.write("x")
            await _until(terminal, b"x")
            return time.perf_counter() - begun

        with _Bare() as bare:
            keys = await beside(
                f"key → echo, {where}", echo, "a bare terminal", bare.echo, effort=effort.times(20), warm_up=5
            )
    return [flow, keys]


async def _until(terminal: nexus.Terminal, wanted: bytes) -> None:
    async for data in terminal:
        if wanted in data:
            return


def _bare_flow() -> float:
    begun = time.perf_counter()
    pid, master = _forked(_PROGRAM)
    count = 0
    try:
        while data := os.read(master, 65536):
            count += len(data)
    except OSError:
        pass  # its program has ended
    os.close(master)
    os.waitpid(pid, 0)
    assert count >= _BULK
    return time.perf_counter() - begun


def _forked(argv: tuple[str, ...]) -> tuple[int, int]:
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return pid, master


class _Bare:
    """A terminal without us, with ``cat`` in it."""

    def __enter__(self) -> Self:
        self._pid, self._master = _forked(("cat",))
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._master)

    async def echo(self) -> float:
        begun = time.perf_counter()
        os.write(self._master, b"x")
        await anyio.wait_readable(self._master)
        os.read(self._master, 4096)
        return time.perf_counter() - begun
