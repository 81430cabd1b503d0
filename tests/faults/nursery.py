"""A process that others are forked from, each to carry out one operation and to kill itself on the way.

It has everything imported and has never run a loop or a thread, so a child costs milliseconds and is a process of its own all the
same: it has its own pid, locks and descriptors, and SIGKILL is SIGKILL. Orders come as lines of JSON on standard input; each is
answered by one line.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path

import anyio

import nexus
from nexus.models.requests import CreateRequest
from tests.faults.tracing import Tracer


async def carry_out(order: dict[str, object]) -> None:
    flags = order["flags"]
    assert isinstance(flags, dict)
    name = str(order["name"])
    async with nexus.open(str(order["repository"]), flags=flags) as nx:
        match order["operation"]:
            case "create":
                await nx.create_workspace(CreateRequest(name=name, start=bool(order.get("start", True))))
            case "restore":
                await nx.restore(name)
            case "destroy":
                await nx.destroy(name, force=bool(order.get("force")))
            case "prune":
                await nx.prune(older_than=0)
            case "start":
                await nx.start(name)
            case "stop":
                await nx.stop(name, grace=2, keep_processes=bool(order.get("keep")))
            case "pause":
                await nx.pause(name)
            case "resume":
                await nx.resume(name)
            case "switch":
                await nx.switch(name)
            case "sync":
                await nx.sync(name)
            case other:
                await with_checkpoints(await nx.attach(name), str(other))


async def with_checkpoints(ws: nexus.Workspace, operation: str) -> None:
    match operation:
        case "checkpoint":
            await ws.checkpoints.create("mark")
        case "restore-checkpoint":
            await ws.checkpoints.restore("mark")
        case "delete-checkpoint":
            await ws.checkpoints.delete("mark")
        case "fork":
            made = await ws.fork(["twin-a", "twin-b"])
            assert [each.error for each in made] == [None, None], made
        case unknown:
            raise AssertionError(unknown)


def live(order: dict[str, object], log: int) -> None:
    """What a child does until it is killed."""
    code = 1
    try:
        env = order["env"]
        assert isinstance(env, dict)
        os.environ.update(env)
        at, step, moment = order.get("at", 0), order.get("step"), order.get("moment")
        tracer = Tracer(log, at=int(str(at)), step=str(step) if step else None, moment=str(moment) if moment else None)
        tracer.install()
        anyio.run(carry_out, order)
        code = 0
        os.write(log, "".join(f"module {name}\n" for name in sys.modules).encode())
    except BaseException:  # noqa: BLE001 - whatever it was is printed, and the child ends here
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def preload(modules: Iterable[str]) -> None:
    """Import what a child had to: most of its time would go into that, and the next one finds it done."""
    ours = ("nexus", "dulwich", "anyio", "aiohttp", "yaml", "encodings")
    missing = [name for name in modules if name not in sys.modules and name.startswith(ours)]
    for name in missing:
        importlib.import_module(name)
    if missing:
        gc.collect()
        gc.freeze()  # children that looked for garbage in it would make copies of all of it


def answer(order: dict[str, object]) -> dict[str, object]:
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.dup2(errors.fileno(), 2)
            live(order, log.fileno())
        _, status = os.waitpid(child, 0)
        log.seek(0)
        errors.seek(0)
        lines = log.read().decode("utf-8", "replace").splitlines()
        preload(line.removeprefix("module ") for line in lines if line.startswith("module "))
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return {
            "killed": killed,
            "ended": os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0,
            "log": [line for line in lines if not line.startswith("module ")],
            "errors": errors.read().decode("utf-8", "replace"),
        }


def main() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]
    main()
