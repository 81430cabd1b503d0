"""``boulder`` as a process of its own that costs a fork instead of a second of imports. See :mod:`tests.warm.server`."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parents[2]


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm.server", str(theirs.fileno())],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def end() -> None:
        ours.close()  # that is what it waits for
        process.wait(timeout=30)

    atexit.register(end)
    return ours


class Started:
    """A command that was started, as ``subprocess.Popen`` has it: its number, its end, and SIGKILL."""

    def __init__(self, told: BinaryIO) -> None:
        self._told = told
        self.pid = int(told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the status of one that has ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the status when it has ended.

        Raises:
            TimeoutError: When that takes longer than so many seconds.
        """
        status = self._ended(timeout)
        if status is None:
            raise TimeoutError(f"process {self.pid} goes on after {timeout} s")
        return status

    def kill(self) -> None:
        """Send SIGKILL to one that may still run."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode


def start(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: tuple[int, int, int] | None = None
) -> Started:
    """Start ``boulder``.

    Args:
        words: What follows its name.
        cwd: Its folder.
        env: All of its environment.
        streams: Descriptors of its three streams, which stay open here; nothing to read, and nowhere to print, when absent.
    """
    order = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()
    from_status, status = os.pipe()
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        try:
            socket.send_fds(_server(), [order], [*(streams or (nothing.fileno(),) * 3), status])
        finally:
            os.close(status)
    # Unbuffered: what was read ahead would not be seen by a wait for more.
    return Started(os.fdopen(from_status, "rb", buffering=0))


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], feed: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run ``boulder`` to its end, as ``subprocess.run`` would; it is killed when this is interrupted."""
    pipes = [os.pipe() for _ in range(3)]
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = pipes
    try:
        child = start(words, cwd=cwd, env=env, streams=(stdin, stdout, stderr))
    finally:
        for theirs in (stdin, stdout, stderr):
            os.close(theirs)
    collected: dict[int, bytes] = {}

    def collect(descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as stream:
            collected[descriptor] = stream.read()

    def give() -> None:
        with suppress(BrokenPipeError), os.fdopen(to_stdin, "wb") as stream:
            stream.write(feed)

    threads = [threading.Thread(target=give, daemon=True)]
    threads += [threading.Thread(target=collect, args=(end,), daemon=True) for end in (from_stdout, from_stderr)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = child.wait()
    except BaseException:
        child.kill()
        raise
    return subprocess.CompletedProcess(list(words), ended, collected[from_stdout], collected[from_stderr])
