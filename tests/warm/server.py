"""A process that commands of ``boulder`` are forked from: it has imported what they need, which is most of what they take.

It has never run a loop or a thread, so a child is a process like any other, with its own pid, descriptors, folder and environment. What
reads the environment while it is imported (the command line itself, and what it prints with) is left to the child.

An order is one message on the socket that it inherited: JSON, with the child's standard streams and a pipe for its status.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import random
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import nexus

MESSAGE_LIMIT = 1 << 20
_ALSO = ("anyio._backends._asyncio", "aiodocker", "asyncio", "importlib.metadata", "keyring.backends.fail", "sqlite3")


def _stream(descriptor: int, mode: str) -> io.TextIOWrapper:
    """Open a standard stream as the interpreter does when it starts."""
    raw = open(descriptor, f"{mode}b", closefd=False)  # noqa: SIM115 - stays open as long as the process
    errors = "backslashreplace" if descriptor == 2 else "strict"
    return io.TextIOWrapper(raw, errors=errors, line_buffering=descriptor == 2 or os.isatty(descriptor))


def _live(order: dict[str, object], streams: list[int]) -> NoReturn:
    """Be ``python -m cli_example`` with these words."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        for target, descriptor in enumerate(streams):
            os.dup2(descriptor, target)
        os.closerange(3, 256)
        os.chdir(str(order["cwd"]))
        os.environ.clear()
        env, words = order["env"], order["words"]
        assert isinstance(env, dict)
        assert isinstance(words, list)
        os.environ.update(env)
        sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
        sys.argv = ["cli_example", *words]
        from cli_example import main

        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter ends
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _preload() -> None:
    for module in pkgutil.walk_packages(nexus.__path__, "nexus."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in (*_ALSO, *(f"encodings.{name}" for name in ("idna", "latin_1"))):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children that looked for garbage in it would make copies of all of it


def _begin(message: bytes, descriptors: list[int], running: dict[int, int]) -> None:
    *streams, status = descriptors
    child = os.fork()
    if child == 0:
        _live(json.loads(message), streams)
    for descriptor in streams:
        os.close(descriptor)
    running[child] = status
    os.write(status, b"%d\n" % child)


def _reap(running: dict[int, int]) -> None:
    for child in list(running):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            told = running.pop(child)
            with suppress(BrokenPipeError):  # nobody may wait for it any more
                os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(told)


def main(inherited: int) -> None:
    _preload()
    running: dict[int, int] = {}
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing)
    with socket.socket(fileno=inherited) as orders:
        while True:
            ready, _, _ = select.select([orders.fileno(), reading], [], [])
            if reading in ready:
                os.read(reading, 4096)
                _reap(running)
            if orders.fileno() in ready:
                message, descriptors, _, _ = socket.recv_fds(orders, MESSAGE_LIMIT, 4)
                if not message:
                    return
                _begin(message, descriptors, running)


if __name__ == "__main__":
    main(int(sys.argv[1]))
