"""Keeping a container's processes on the engine's disk, and letting them go on: ``docker checkpoint``, which has CRIU do it.

A checkpoint is called by the moment at which the run began that it was taken of, and ends that run. So it counts as long as the
container was not started since, whoever did that, and nobody has to remember anything: the engine does. It lies in the container's own
folder, which only the engine's host can read, and is gone with the container.
"""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from nexus.errors import NexusError, ProviderError, Unsupported, WorkspaceStopped
from nexus.models.instances import Capability
from nexus.providers.docker.client import Answer, Engine, parse
from nexus.providers.docker.failures import EngineRefused

_PREFIX: Final = "nexus-"
_DEADLINE: Final = 60.0
_KEEP_DEADLINE: Final = 1800.0
"""Seconds for writing or reading the memory of one container: gigabytes of it take minutes."""
_WRITTEN_BY_OTHERS: Final = 300.0
"""Seconds that the engine may be writing for somebody else."""
_PATIENCE: Final = 10.0
"""Seconds for which the engine may say that what it is about to read exists already: it is not done with writing it."""
_AGAIN: Final = 0.1
_BUSY: Final = "already exists"
_LONGEST: Final = 300


class Proof:
    """Whether one engine has been found to keep processes. Shared by everybody who uses it in this process."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.tried = False
        self.refusal: Unsupported | None = None


class _State(Answer):
    status: str = ""
    started_at: str = ""


class _Container(Answer):
    id: str
    state: _State = _State()

    @property
    def runs(self) -> bool:
        return self.state.status in {"running", "paused", "restarting"}

    @property
    def checkpoint(self) -> str:
        """What a checkpoint of its latest run is called."""
        return _PREFIX + "".join(character for character in self.state.started_at if character.isalnum())


class _Checkpoint(Answer):
    name: str = ""


async def keep(engine: Engine, number: str) -> bool:
    """Keep a container's processes and end them; return whether anything is kept: not of one that had ended by itself.

    Raises:
        Unsupported: When the engine cannot. They go on.
    """
    found = await _look(engine, number)
    if not found.runs:
        return found.checkpoint in await _kept(engine, number)
    if await _being_written(engine, number):
        return True
    await forget(engine, number, but=found.checkpoint)
    try:
        async with engine.stream(
            "keep the processes of a container",
            "POST",
            f"containers/{number}/checkpoints",
            json={"CheckpointID": found.checkpoint, "Exit": True},
            deadline=_KEEP_DEADLINE,
        ):
            pass
    except EngineRefused as exc:
        if await _being_written(engine, number):
            return True  # somebody else's question came first after all
        raise refusal(exc) from exc
    # The engine has answered, but may not have noticed yet that they are gone.
    params = {"condition": "not-running"}
    async with engine.stream(
        "end a container", "POST", f"containers/{number}/wait", params=params, deadline=_DEADLINE
    ) as reply:
        await reply.read()
    return True


async def _being_written(engine: Engine, number: str) -> bool:
    """Wait for what the engine is writing already, because whoever asked for it was killed; return whether the processes are kept.

    Raises:
        Unsupported: When it takes very long.
    """
    ends = asyncio.get_running_loop().time() + _WRITTEN_BY_OTHERS
    while asyncio.get_running_loop().time() < ends:
        found = await _look(engine, number)
        if found.checkpoint not in await _kept(engine, number):
            return False
        if not found.runs:
            return True
        await asyncio.sleep(_AGAIN)
    raise cannot("the engine has been writing them for long, and is not done", hint="see the engine's log")


async def is_kept(engine: Engine, number: str) -> bool:
    """Return whether a container's processes are kept, so that they can go on."""
    found = await _look(engine, number)
    return not found.runs and found.checkpoint in await _kept(engine, number)


async def bring_back(engine: Engine, number: str) -> str | None:
    """Let a container's processes go on; return why not when they do not. What was kept of them is gone then, and nothing runs."""
    found = await _look(engine, number)
    if found.runs:
        return None
    if found.checkpoint not in await _kept(engine, number):
        return "they are not kept any more: it was made again or started since"
    try:
        await _start(engine, number, found.checkpoint)
    except ProviderError as exc:
        await _end_quietly(engine, number)
        await forget(engine, number)
        return _shortened(exc.text if isinstance(exc, EngineRefused) else exc.message)
    await forget(engine, number)
    return None


async def _start(engine: Engine, number: str, checkpoint: str) -> None:
    ends = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        try:
            async with engine.stream(
                "let the processes of a container go on",
                "POST",
                f"containers/{number}/start",
                params={"checkpoint": checkpoint},
                deadline=_KEEP_DEADLINE,
            ):
                return
        except EngineRefused as exc:
            if _BUSY not in exc.text or asyncio.get_running_loop().time() > ends:
                raise
        await asyncio.sleep(_AGAIN)


async def _end_quietly(engine: Engine, number: str) -> None:
    """End what a start has left that did not succeed, or was not answered."""
    try:
        async with engine.stream("end a container", "POST", f"containers/{number}/kill", deadline=_DEADLINE):
            pass
    except NexusError:
        pass  # it does not run, which is all that was wanted


async def forget(engine: Engine, number: str, *, but: str = "") -> None:
    """Remove what is kept of a container's processes; one of its checkpoints stays, which may be being written."""
    for name in await _kept(engine, number) - {but}:
        path = f"containers/{number}/checkpoints/{quote(name, safe='')}"
        try:
            async with engine.stream("remove kept processes", "DELETE", path, deadline=_DEADLINE):
                pass
        except EngineRefused as exc:
            if exc.status != 404 and "does not exist" not in exc.text:
                raise


async def _look(engine: Engine, number: str) -> _Container:
    async with engine.door("look at a container", deadline=_DEADLINE) as docker:
        return parse(_Container, await docker.containers.container(number).show())


class _Listed(Answer):
    checkpoints: tuple[_Checkpoint, ...] | None = None


async def _kept(engine: Engine, number: str) -> frozenset[str]:
    """Return the names of a container's checkpoints that are ours."""
    try:
        async with engine.stream("list kept processes", "GET", f"containers/{number}/checkpoints") as reply:
            raw = await reply.json(content_type=None)
    except EngineRefused:
        return frozenset()  # an engine that is not experimental has no such question, and nothing kept
    found = parse(_Listed, {"Checkpoints": raw}).checkpoints or ()
    return frozenset(each.name for each in found if each.name.startswith(_PREFIX))


def refusal(refused: EngineRefused) -> Unsupported:
    """Return why the engine does not keep processes, with what to do about it. Pure."""
    text = refused.text
    if refused.status == 404 and "page not found" in text:
        return not_experimental()
    if '"criu"' in text and "executable file not found" in text:
        return cannot(
            "there is no CRIU where the engine looks for programs",
            hint="install CRIU 4 or later on the engine's host; 'criu check' there says whether its kernel will do",
        )
    return cannot(
        f"CRIU could not: {_shortened(text)}",
        hint="it refuses open TCP connections and some kinds of descriptors; its log is named there, on the engine's host",
    )


def not_experimental() -> Unsupported:
    """Return the refusal of an engine that was not told to."""
    return cannot(
        "the engine is not experimental, and only an experimental one with a working CRIU keeps them",
        hint='start the engine with --experimental ("experimental": true in its daemon.json), and install CRIU on its host',
    )


def cannot(why: str, *, hint: str) -> Unsupported:
    """Return the refusal to keep processes, with its reason."""
    return Unsupported(
        f"processes cannot be kept: {why}",
        hint=hint,
        details={"capability": str(Capability.HIBERNATION), "provider": "docker"},
    )


def nothing_runs(name: str) -> WorkspaceStopped:
    """Return the refusal to keep the processes of what has none."""
    return WorkspaceStopped(
        f"workspace {name!r} is not running, so there are no processes to keep", hint="start it first"
    )


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
