"""Starting a command in a container."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from pydantic import JsonValue

from nexus.errors import ExecStartError, InvalidArgument, NexusError, Unsupported
from nexus.models.execution import SpawnRequest
from nexus.models.ids import new_exec_id
from nexus.providers.docker.client import Address, Engine
from nexus.providers.docker.exec_control import ExecControl, Target, create_exec
from nexus.providers.docker.exec_output import OutputAssembler
from nexus.providers.docker.exec_script import environment, passes_shell, wrap
from nexus.providers.docker.exec_stream import Hijacked, hijack
from nexus.providers.docker.failures import EngineRefused, start_failure
from nexus.providers.docker.freezing import StartGate
from nexus.providers.docker.leaving import behind_readers
from nexus.providers.docker.prepared import PreparedShell, ShellPool, can_serve
from nexus.providers.docker.process import DockerProcess
from nexus.providers.docker.shielding import finish

P = TypeVar("P", DockerProcess, DockerProcess | None)

_START_DEADLINE: Final = 60.0
_UNDO_LIMIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is to run."""

    container: str
    workdir: str
    shell: bool
    """Whether a shell inside can stand above the command and pass everything on."""


@dataclass(frozen=True, slots=True)
class Site:
    """What starting commands in one container takes."""

    engine: Engine
    place: Place
    pool: ShellPool
    gate: StartGate
    turn: asyncio.Semaphore
    """How many commands may be starting at once; engines get slower, not faster, with more."""
    keep: Callable[[DockerProcess], None]
    """Told of a command as soon as there is something to end."""
    gone: Callable[[DockerProcess], None]
    """Told when there no longer is."""


async def spawn(site: Site, request: SpawnRequest) -> DockerProcess:
    """Start a command and wait until it runs: in a prepared shell where one can do it, else by the engine.

    Cancelled: a command that has started meanwhile is ended with its group before the cancellation goes on.

    Raises:
        ExecStartError: When it cannot be started.
        Unsupported: When the request cannot be met on this connection.
        EngineRefused: When the container is not running or not there.
    """
    _check(await site.engine.address(), request)
    if site.place.shell and request.leaves_running:
        request = replace(request, argv=behind_readers(request.argv, secrets.token_hex(16)))
    if site.place.shell and can_serve(request):
        shell = await site.pool.get()
        if shell is not None:
            process = await _see_through(_hand(site, request, shell))
            if process is not None:
                return process
    return await _ask_engine(site, request)


async def _hand(site: Site, request: SpawnRequest, shell: PreparedShell) -> DockerProcess | None:
    """Have a prepared shell run the command; ``None`` when it does not answer, and nothing was started."""
    exec_id = new_exec_id()
    assembler = await shell.take(request, exec_id)
    if assembler is None:
        shell.close()
        return None
    process = DockerProcess(
        exec_id=exec_id,
        request=request,
        stream=shell.stream,
        control=ExecControl(site.engine, Target(site.place.container, "", site.gate), shell.number),
        assembler=assembler,
        reports=True,
        gone=site.gone,
        reuse=lambda: site.pool.give_back(shell),
    )
    site.keep(process)
    await _begin(process)
    return process


async def _ask_engine(site: Site, request: SpawnRequest) -> DockerProcess:
    engine, place = site.engine, site.place
    exec_id = new_exec_id()
    shell = place.shell and passes_shell(request.env)
    async with site.turn, site.gate.starting():
        try:
            number = await create_exec(
                engine, place.container, _body(request, place, exec_id if shell else None), deadline=_START_DEADLINE
            )
        except EngineRefused as exc:
            raise _explain(exc, request) from exc

        async def start() -> DockerProcess:
            process = DockerProcess(
                exec_id=exec_id,
                request=request,
                stream=await _open(await engine.address(), number, request),
                control=ExecControl(engine, Target(place.container, request.user or "", site.gate), number),
                assembler=OutputAssembler(framed=request.pty is None, nonce=exec_id if shell else None),
                reports=shell,
                gone=site.gone,
            )
            site.keep(process)
            await _begin(process)
            return process

        return await _see_through(start())


async def _see_through(start: Coroutine[object, object, P]) -> P:
    """Start a command. Once asked for, a start cannot be taken back: a cancelled caller waits for it and ends what it started."""
    starting = asyncio.create_task(start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await finish(_take_back(starting), limit=_UNDO_LIMIT)
        raise


async def _begin(process: DockerProcess) -> None:
    try:
        await process.begin(deadline=_START_DEADLINE)
    except ExecStartError:
        process.discard()
        raise
    except BaseException:
        await finish(process.abandon(), limit=_UNDO_LIMIT)
        raise


async def _take_back(starting: asyncio.Task[P]) -> None:
    try:
        process = await starting
    except NexusError:
        return  # it did not start
    if process is not None:
        await process.aclose()


def _check(address: Address, request: SpawnRequest) -> None:
    if request.stdin and request.pty is None and address.ssl is not None:
        raise Unsupported(
            "standard input cannot be ended on a TLS connection to an engine",
            hint="forward the engine's socket with ssh and use that",
            details={"capability": "stdin", "provider": "docker"},
        )


def _body(request: SpawnRequest, place: Place, nonce: str | None) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {
        # A terminal is its command's standard input whether or not the caller writes to it.
        "AttachStdin": request.stdin or request.pty is not None,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": request.pty is not None,
        "User": request.user or "",
    }
    if nonce is not None:
        wrapped = wrap(request, nonce)
        return {**body, "Cmd": list(wrapped.argv), "Env": list(wrapped.env)}
    words = (*request.argv, *request.env.values(), request.cwd or "")
    if not all(word.isascii() or _encodes(word) for word in words):
        raise InvalidArgument(
            "words that are no UTF-8 need a shell inside the workspace to pass them on",
            hint="use an image that has /bin/sh",
        )
    folder = request.cwd or place.workdir
    return {
        **body,
        "Cmd": list(request.argv),
        "Env": list(environment(request)),
        "WorkingDir": folder if folder.startswith("/") else f"{place.workdir.rstrip('/')}/{folder}",
    }


def _encodes(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _open(address: Address, number: str, request: SpawnRequest) -> Hijacked:
    body: dict[str, JsonValue] = {"Detach": False, "Tty": request.pty is not None}
    try:
        return await hijack(
            address, f"exec/{number}/start", body, doing=f"start {request.argv[0]}", deadline=_START_DEADLINE
        )
    except EngineRefused as exc:
        raise _explain(exc, request) from exc


def _explain(refusal: EngineRefused, request: SpawnRequest) -> Exception:
    """Return the error for a refusal: what the runtime says of the command, or the refusal itself for the caller to read."""
    text = refusal.text
    about_command = ("exec failed", "starting container process", "unable to find user", "matching entries in passwd")
    if any(words in text for words in about_command):
        return start_failure(request.argv, text, None, request.cwd)
    return refusal
