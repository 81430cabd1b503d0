"""What goes on in a container, without anything of ours inside: which commands run, and where programs listen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import anyio.to_thread
from pydantic import Field

from nexus.models.activity import Listener, RunningCommand
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.exec_script import is_serving, program_of
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.listening import listeners_in

_MOST: Final = 64
"""Commands that are looked at; with more of them the workspace is busy whatever the rest does."""
_NAME: Final = 64
_RESOLVER: Final = "127.0.0.11"
TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")


class _Process(Answer):
    tty: bool = Field(default=False, alias="tty")
    entrypoint: str = Field(default="", alias="entrypoint")
    arguments: tuple[str, ...] | None = Field(default=None, alias="arguments")


class _Exec(Answer):
    running: bool = False
    pid: int = 0
    process: _Process = Field(default=_Process(), alias="ProcessConfig")

    @property
    def argv(self) -> tuple[str, ...]:
        return (self.process.entrypoint, *(self.process.arguments or ()))


class _Top(Answer):
    processes: tuple[tuple[str, ...], ...] | None = None


async def running_commands(engine: Engine, container: str, exec_ids: Sequence[str]) -> tuple[RunningCommand, ...]:
    """Return the commands among the engine's own list that still run.

    Args:
        engine: The engine.
        container: The container's id.
        exec_ids: What it lists for the container.
    """
    found: list[RunningCommand] = []
    serving: set[int] = set()
    for number in exec_ids[:_MOST]:
        try:
            async with engine.stream("look at a command", "GET", f"exec/{number}/json") as reply:
                known = parse(_Exec, await reply.json(content_type=None))
        except EngineRefused as exc:
            if exc.status in {404, 409}:
                continue
            raise
        if known.running and is_serving(known.argv):
            serving.add(known.pid)
        elif known.running:
            found += _command(known)
    if serving:
        found += await _below(engine, container, serving)
    return tuple(found)


def _command(known: _Exec) -> list[RunningCommand]:
    told = program_of(known.argv)
    if told is None:
        return []  # a tool of ours that acts on a command, not a command
    program, keeps_awake = told
    name = PurePosixPath(program).name[:_NAME]
    return [RunningCommand(program=name, interactive=known.process.tty, keeps_awake=keeps_awake)]


async def _below(engine: Engine, container: str, shells: Collection[int]) -> list[RunningCommand]:
    """Return what prepared shells run: one that only waits has no child."""
    params = {"ps_args": "-eo pid,ppid,comm"}
    try:
        async with engine.stream("list processes", "GET", f"containers/{container}/top", params=params) as reply:
            table = parse(_Top, await reply.json(content_type=None))
    except EngineRefused as exc:
        if exc.status in {404, 409}:
            return []
        raise
    return [RunningCommand(program=program) for program in children_in(table.processes or (), shells)]


def children_in(rows: Sequence[Sequence[str]], parents: Collection[int]) -> list[str]:
    """Return the names of the processes whose parents these are. Pure.

    Args:
        rows: Process id, parent's id and name of each.
        parents: The parents' ids.
    """
    return [row[2][:_NAME] for row in rows if len(row) > 2 and row[1].isdecimal() and int(row[1]) in parents]


async def listeners_on_host(pid: int, container: str) -> tuple[Listener, ...] | None:
    """Return where programs in a container listen, by this host's own view of it; ``None`` where this host has none.

    Args:
        pid: The container's main process, as the engine numbers it.
        container: Its id. An engine on another machine numbers other machines' processes: the one here has to be in this container.
    """
    return await anyio.to_thread.run_sync(_on_host, pid, container)


def _on_host(pid: int, container: str) -> tuple[Listener, ...] | None:
    root = Path(f"/proc/{pid}")
    try:
        if pid <= 0 or container not in (root / "cgroup").read_text(encoding="utf-8", errors="replace"):
            return None
        tables = [(root / "net" / name).read_text(encoding="ascii", errors="replace") for name in ("tcp", "tcp6")]
    except OSError:
        return None
    return without_resolver(listeners_in(tables))


def without_resolver(listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
    """Leave out the engine's own name server, which it places in every container."""
    return tuple(one for one in listeners if one.address != _RESOLVER)
