"""A Docker engine of one's own, started as root from the ``dockerd`` of this machine and ended by its process id.

Two engines on one machine share the kernel's packet filter and the default bridge: a second one rewrites the rules of the first,
and one that is told to do without a bridge removes ``docker0`` from under it. So none is ever started beside another, except in
a network namespace of its own, where nothing it does is felt.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from nexus.errors import ProviderUnavailable

_USUAL: Final = "unix:///var/run/docker.sock"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is made there has a name of its own, and is this user's only
_ENOUGH: Final = 6 * 1024**3
"""Bytes of memory that have to be left: some times what the images and volumes of all tests take together."""
_SELDOM: Final = "400"
"""By how many per cent what a program of Go's holds may grow before it looks for garbage; usually 100."""


@asynccontextmanager
async def running_engine(*, in_memory: bool = False, lean: bool = False) -> AsyncGenerator[str, None]:
    """Give the address of an engine: one that answers at ``DOCKER_HOST`` or on the usual socket, else one started for the block.

    Args:
        in_memory: As for :class:`PrivateEngine`, where one is started.
        lean: Likewise.

    Raises:
        ProviderUnavailable: When none answers and none can be started; the message says why.
    """
    for address in filter(None, (os.environ.get("DOCKER_HOST"), _USUAL)):
        if await anyio.to_thread.run_sync(answers, address):
            yield address
            return
    reason = why_not(own_network=False)
    if reason is not None:
        raise ProviderUnavailable(f"no container engine answers, and none can be started: {reason}")
    own = PrivateEngine(in_memory=in_memory, lean=lean)
    try:
        await anyio.to_thread.run_sync(own.start)
        yield own.address
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(own.remove)


def answers(address: str) -> bool:
    """Return whether an engine answers at ``unix:///path`` or ``tcp://host:port`` within three seconds."""
    scheme, _, rest = address.partition("://")
    connection = http.client.HTTPConnection("engine" if scheme == "unix" else rest, timeout=3.0)
    try:
        if scheme == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(3.0)
            connection.sock.connect(rest)
        connection.request("GET", "/version")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def why_not(*, own_network: bool) -> str | None:
    """Return why no engine can be started here; ``None`` when one can."""
    if not own_network and other_engine_runs():
        return "another engine uses this network, to be named with NEXUS_TEST_DOCKER_HOST"
    if os.geteuid() != 0:
        return "starting an engine takes root"
    missing = [name for name in ("dockerd", "containerd", "runc", "unshare") if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def other_engine_runs() -> bool:
    """Return whether another ``dockerd`` shares our network, wherever it listens. One that cannot be looked at counts."""
    ours = Path("/proc/self/ns/net").readlink()
    for entry in Path("/proc").glob("[0-9]*/comm"):
        try:
            if entry.read_text().strip() != "dockerd":
                continue
        except OSError:
            continue
        try:
            if (entry.parent / "ns" / "net").readlink() == ours:
                return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


class PrivateEngine:
    """An engine in a temporary folder.

    Args:
        own_network: Give it a network namespace of its own: nothing it publishes is reachable, nothing it does is felt.
        in_memory: Keep what it stores in memory where there is room. It syncs its books for every container, network and volume,
            which on a disk takes longer than all its work; no measurement should be taken so.
        lean: Have it leave the kernel's packet filter alone, and collect its garbage seldom: no measurement should be taken so either.
            It runs ``iptables`` some sixty times for every network, one after the other. Without those rules ports are published
            by its proxies, as on the loopback address they always are; containers reach this machine and each other, but no
            other. Three short-lived programs that it starts for every container are as large as itself.
    """

    def __init__(self, *, own_network: bool = False, in_memory: bool = False, lean: bool = False) -> None:
        # A short path: the engine's sockets live below it, and a socket's path is limited to 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="nxd-"))
        self.socket = self.folder / "s"
        self.address = f"unix://{self.socket}"
        self._data = self.folder / "data"
        if in_memory and _memory_to_spare() >= _ENOUGH:
            self._data = Path(tempfile.mkdtemp(prefix="nxd-", dir=_MEMORY), "data")
        self._own_network = own_network
        self._lean = lean
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        folder = self.folder
        command = ["dockerd", "--data-root", str(self._data), "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "-H", self.address]
        if self._own_network or self._lean:
            command += ["--iptables=false"]
        if self._own_network:
            script = 'ip link set lo up 2>/dev/null; exec "$@"'
            command = ["unshare", "--net", "sh", "-c", script, "sh", *command, "--bridge=none"]
        elif other_engine_runs():
            raise ProviderUnavailable(
                "an engine that shares this machine's network is never started beside another one"
            )
        # After a crash its containerd is dead with it, and a zombie where no init collects it: the engine would wait for that.
        (folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        with (folder / "log").open("ab") as log:
            env = {**os.environ, **({"GOGC": _SELDOM} if self._lean else {})}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
        deadline = time.monotonic() + 60
        while not answers(self.address):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (folder / "log").read_text(errors="replace")[-2000:]
                self.stop()
                raise ProviderUnavailable("the engine that was started does not answer", details={"log_tail": tail})
            time.sleep(0.1)

    def kill(self) -> None:
        """End the engine as a crash would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)

    def stop(self) -> None:
        """End the engine in order, and everything that it left running after a crash."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait(timeout=30)
            self._process = None
        self._end_leftovers()

    def remove(self) -> None:
        """End it and remove its folder."""
        self.stop()
        for _ in range(50):
            for point in reversed(self._mounts()):
                subprocess.run(["umount", "-l", point], check=False, capture_output=True)
            folders = (self._data.parent, self.folder)
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            if not any(folder.exists() for folder in folders):
                return
            time.sleep(0.1)
        raise ProviderUnavailable(f"the engine's folder {self.folder} could not be removed")

    def _end_leftovers(self) -> None:
        """End the helpers that name this engine's folder on their command line: its containerd and its shims."""
        mark = f"{self.folder}/".encode()
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            pid = int(entry.parent.name)
            try:
                if pid != os.getpid() and mark in entry.read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mounts").read_text().splitlines()
        ours = (f"{self.folder}/", f"{self._data.parent}/")
        return [point for point in (line.split()[1] for line in lines) if point.startswith(ours)]


def _memory_to_spare() -> int:
    """Return how many bytes may be kept in memory: what the system, its folder there and this process's group have left."""
    try:
        left = [shutil.disk_usage(_MEMORY).free]
        left += [
            int(line.split()[1]) * 1024
            for line in Path("/proc/meminfo").read_text().splitlines()
            if line.startswith("MemAvailable:")
        ]
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text().strip() if (group / "memory.max").exists() else "max"
        if most != "max":
            left.append(int(most) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return 0
    return min(left)
