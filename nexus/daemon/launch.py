"""Starting a daemon in the background, and ending one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
from anyio import to_thread
from pydantic import JsonValue

from nexus.daemon.discovery import Announcement
from nexus.daemon.readiness import Report, read_report
from nexus.errors import DaemonUnavailable, NexusError, OperationTimeout
from nexus.models.base import Model
from nexus.models.workspace import ProcessState
from nexus.processes import is_alive

_PIECE: Final = 65536
_MOST_SAID: Final = 64 * 1024


class LaunchSpec(Model):
    """What a daemon in the background is told on its standard input."""

    project: Path
    """The repository, absolute."""
    flags: Mapping[str, JsonValue] = {}
    """Settings that rank above every file, by dotted key."""
    report_to: int
    """Descriptor that it reports on."""


async def start_background(
    project: Path,
    *,
    module: str,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Announcement:
    """Start a daemon that outlives this process, and return what it says of itself once it can be connected to.

    It has its own session, none of our descriptors but those it needs, and nobody has to wait for its end.

    Args:
        project: The repository, absolute.
        module: What is run: reads a :class:`LaunchSpec`, detaches and reports.
        flags: Settings that rank above every file.
        env: Its environment; this process's when absent.
        timeout: Seconds until it has to be ready.

    Raises:
        Busy: When one runs already.
        NexusError: Whatever else kept it from starting, as it raised it: ``ConfigError``, ``PortInUse``, ``StateError``.
        DaemonUnavailable: When it failed in a way that nobody expected.
        OperationTimeout: When it is not ready in time; it is ended.

    Cancellation: what was started is ended.
    """
    reading, writing = os.pipe()
    launch = _Launch(reading)
    try:
        spec = LaunchSpec(project=project, flags=flags or {}, report_to=writing)
        try:
            process = await to_thread.run_sync(_spawn, module, spec, env)
        finally:
            os.close(writing)
        launch.process = process
        with anyio.move_on_after(timeout) as limit:
            return await launch.outcome()
        if limit.cancelled_caught:
            raise OperationTimeout(
                f"the daemon was not ready within {timeout:g} s, and was ended",
                hint="its log may say what it waits for",
            )
    except BaseException:
        launch.end()
        raise
    finally:
        with anyio.CancelScope(shield=True):
            await launch.reap()
        os.close(reading)
    raise DaemonUnavailable("the daemon did not start")


def _spawn(module: str, spec: LaunchSpec, env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    # -P: the folder it is started in, which a clone may have filled, is no place to import from.
    command = [sys.executable, "-P", "-m", module, str(spec.project)]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=None if env is None else dict(env),
        pass_fds=[spec.report_to],
        start_new_session=True,
    )
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(spec.model_dump_json().encode())
            process.stdin.close()
    return process


class _Launch:
    """A daemon on its way: the process that was started ends at once, and leaves the daemon to itself."""

    def __init__(self, reading: int) -> None:
        self._reading = reading
        self._pid: int | None = None
        self.process: subprocess.Popen[bytes] | None = None

    async def outcome(self) -> Announcement:
        """Return what the daemon says once it is ready, raise what it says otherwise."""
        buffer = b""
        while True:
            await anyio.wait_readable(self._reading)
            piece = os.read(self._reading, _PIECE)
            if not piece:
                raise await self._died()
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                report = read_report(line)
                if report is not None and (ready := self._take(report)) is not None:
                    return ready

    def _take(self, report: Report) -> Announcement | None:
        self._pid = report.pid or self._pid
        if report.failed is not None:
            raise report.failed.error()
        return report.ready

    async def reap(self) -> None:
        """Return when the process that was started has ended, which it does as soon as the daemon is on its own."""
        if self.process is not None:
            await to_thread.run_sync(self.process.wait)
            if self.process.stderr is not None:
                self.process.stderr.close()

    async def _died(self) -> NexusError:
        said = b""
        if self.process is not None and self.process.stderr is not None:
            said = await to_thread.run_sync(self.process.stderr.read, _MOST_SAID)
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        return DaemonUnavailable(
            f"the daemon ended before it was ready{f': {last}' if last else ''}",
            hint="start it where you can watch it: boulder daemon start --foreground",
        )

    def end(self) -> None:
        """End what was started."""
        for pid in (self._pid, self.process.pid if self.process is not None else None):
            if pid is not None and (self.process is None or pid != self.process.pid or self.process.poll() is None):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


async def end(process: ProcessState, *, timeout: float) -> None:
    """Tell a daemon to end what is under way and stop, and return when it has.

    Args:
        process: Which; when it has gone already, nothing is done.
        timeout: Seconds that it may take.

    Raises:
        OperationTimeout: When it still runs then.

    Cancellation: it was told all the same.
    """
    if not is_alive(process):
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if not is_alive(process):  # from here on the descriptor means this process, and no later one with its number
            return
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        with anyio.move_on_after(timeout) as limit:
            await anyio.wait_readable(descriptor)
        if limit.cancelled_caught:
            raise OperationTimeout(
                f"the daemon (process {process.pid}) has not ended within {timeout:g} s",
                hint=f"its log tells what it waits for; as a last resort: kill -9 {process.pid}",
                details={"pid": process.pid},
            )
    finally:
        os.close(descriptor)
