"""``boulder`` as a process of its own that costs a fork instead of a second of imports. See :mod:`tests.warm.server`."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

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


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], feed: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run ``boulder`` to its end, as ``subprocess.run`` would; it is killed when this is interrupted."""
    order = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()
    pipes = [os.pipe() for _ in range(4)]
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr), (from_status, status) = pipes
    try:
        socket.send_fds(_server(), [order], [stdin, stdout, stderr, status])
    finally:
        for theirs in (stdin, stdout, stderr, status):
            os.close(theirs)
    told = os.fdopen(from_status, "rb")
    child = int(told.readline())
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
        ended = int(told.readline())
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        raise
    finally:
        told.close()
    return subprocess.CompletedProcess(list(words), ended, collected[from_stdout], collected[from_stderr])
