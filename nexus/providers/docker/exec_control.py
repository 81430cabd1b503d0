"""What can be done to a command beside its stream: look at it, signal it, end it, tell its terminal a new size."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio.to_thread
from pydantic import Field, JsonValue

from nexus.errors import ProviderError, ProviderUnavailable, Unsupported
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.exec_script import NOT_RUNNING, TERM_ONLY, end_command, signal_command
from nexus.providers.docker.exec_stream import hijack
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.freezing import StartGate

_TOOL_DEADLINE: Final = 30.0


class ExecFacts(Answer):
    """What the engine knows of a command."""

    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    """Its process id on the engine's host."""


class _State(Answer):
    oom_killed: bool = Field(default=False, alias="OOMKilled")


class _Memory(Answer):
    state: _State = _State()


@dataclass(frozen=True, slots=True)
class Target:
    """Whose command it is."""

    container: str
    user: str
    """The user it runs as; empty for the container's own."""
    gate: StartGate
    """Held while a script of ours starts in there."""


async def create_exec(engine: Engine, container: str, body: dict[str, JsonValue], *, deadline: float) -> str:
    """Make a command ready in a container, and return the engine's id for it."""
    doing = "make a command ready"
    async with engine.stream(doing, "POST", f"containers/{container}/exec", json=body, deadline=deadline) as reply:
        raw = await reply.json(content_type=None)
    return parse(_Created, raw).id


class _Created(Answer):
    id: str


class ExecControl:
    """Acts on one command.

    Args:
        engine: The engine.
        target: Whose command it is.
        exec_id: The engine's id for it.
    """

    def __init__(self, engine: Engine, target: Target, exec_id: str) -> None:
        self._engine = engine
        self._target = target
        self._exec = exec_id

    async def inspect(self) -> ExecFacts | None:
        """Return what the engine knows of the command; ``None`` when it no longer knows it."""
        try:
            async with self._engine.stream("look at a command", "GET", f"exec/{self._exec}/json") as reply:
                return parse(ExecFacts, await reply.json(content_type=None))
        except EngineRefused as exc:
            if exc.status in {404, 409}:
                return None
            raise

    async def out_of_memory(self) -> bool:
        """Return whether the kernel has ended something in the container for want of memory since it started."""
        try:
            async with self._engine.stream(
                "look at a container", "GET", f"containers/{self._target.container}/json"
            ) as reply:
                return parse(_Memory, await reply.json(content_type=None)).state.oom_killed
        except ProviderError:
            return False

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size. A command that has ended, or has none, is fine."""
        params = {"h": str(rows), "w": str(cols)}
        try:
            async with self._engine.stream("resize a terminal", "POST", f"exec/{self._exec}/resize", params=params):
                pass
        except EngineRefused:
            # The engine has three ways to say that the process is not there (any more); each is fine.
            return

    async def signal(self, group: int | None, number: int) -> None:
        """Send a signal to a group inside, or, where its number is not known, to the process on this host."""
        if group is not None:
            await self._run(signal_command(group, number))
        else:
            await self._signal_host(number)

    async def end(self, group: int | None, grace: float) -> bool:
        """End a group: TERM, ``grace`` seconds, KILL. Return false when the command had ended by itself."""
        if group is None:
            return await self._end_host(grace)
        status = await self._run(end_command(group, grace), deadline=grace + _TOOL_DEADLINE)
        if status == TERM_ONLY:
            await asyncio.sleep(grace)
            await self._run(end_command(group, 0))
        return status != NOT_RUNNING

    async def _run(self, argv: tuple[str, ...], *, deadline: float = _TOOL_DEADLINE) -> int | None:
        """Run one of our scripts as the command's own user, and return its status."""
        body: dict[str, JsonValue] = {
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": list(argv),
            "User": self._target.user,
            "WorkingDir": "/",
        }
        async with self._target.gate.starting():
            number = await create_exec(self._engine, self._target.container, body, deadline=_TOOL_DEADLINE)
            path = f"exec/{number}/start"
            address = await self._engine.address()
            stream = await hijack(
                address, path, {"Detach": False, "Tty": False}, doing="signal a command", deadline=15.0
            )
            tool = ExecControl(self._engine, self._target, number)
            await tool.started(deadline=_TOOL_DEADLINE)
        try:
            async with asyncio.timeout(deadline):
                while await stream.reader.read(4096):
                    pass
                return await tool.status()
        except TimeoutError as exc:
            raise ProviderUnavailable(f"a command could not be signalled within {deadline:g} s") from exc
        except OSError as exc:
            raise ProviderUnavailable("the connection to the container engine broke") from exc
        finally:
            stream.close()

    async def started(self, *, deadline: float) -> None:
        """Wait until the engine has started it; after ``deadline`` seconds go on all the same."""
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._until(lambda facts: not facts.running or facts.pid > 0)

    async def status(self) -> int | None:
        """Wait for its end and return its exit code; ``None`` when the engine no longer knows it."""
        facts = await self._until(lambda facts: not facts.running)
        return None if facts is None else facts.exit_code

    async def _until(self, enough: Callable[[ExecFacts], bool]) -> ExecFacts | None:
        while True:
            facts = await self.inspect()
            if facts is None or enough(facts):
                return facts
            await asyncio.sleep(0.01)

    # Without a shell inside nothing in there can send a signal, so this process does, when the engine runs on this host and
    # the process is proved to be the container's: a number from another host would name a stranger.

    async def _signal_host(self, number: int) -> bool:
        facts = await self.inspect()
        if facts is None or not facts.running or facts.pid <= 0:
            return False
        if not await anyio.to_thread.run_sync(_belongs, facts.pid, self._target.container):
            raise Unsupported(
                "a command in an image without a shell can only be signalled when the engine runs on this host",
                hint="use an image that has /bin/sh",
                details={"capability": "signals", "provider": "docker"},
            )
        return _kill_group(facts.pid, number)

    async def _end_host(self, grace: float) -> bool:
        if not await self._signal_host(signal.SIGTERM):
            return False
        until = asyncio.get_running_loop().time() + grace
        while asyncio.get_running_loop().time() < until:
            facts = await self.inspect()
            if facts is None or not facts.running:
                return True
            await asyncio.sleep(min(0.1, grace))
        await self._signal_host(signal.SIGKILL)
        return True


def _belongs(pid: int, container: str) -> bool:
    try:
        return container in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _kill_group(pid: int, number: int) -> bool:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as exc:
        raise Unsupported(
            "this user may not signal the command, and its image has no shell to do it inside",
            hint="use an image that has /bin/sh",
            details={"capability": "signals", "provider": "docker"},
        ) from exc
    return True
