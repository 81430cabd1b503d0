"""The commands of a workspace on this host, as its keeper is asked about them: started, joined again, listed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import Final

import anyio
from pydantic import ConfigDict, JsonValue, TypeAdapter

from nexus.errors import InvalidArgument, NotFound, ProviderUnavailable, Unsupported, WorkspaceGone, WorkspaceStopped
from nexus.models.activity import RunningCommand
from nexus.models.execution import SpawnRequest, Started
from nexus.models.ids import ExecId, new_exec_id
from nexus.models.instances import Capability, InstanceState
from nexus.providers.local import environment
from nexus.providers.local.channel import Channel
from nexus.providers.local.contact import Contact, Known, stopped
from nexus.providers.local.folders import own_account
from nexus.providers.local.keeper import frames
from nexus.providers.local.process import LocalProcess, not_started

_ANSWER: Final = 30.0
"""Seconds that starting a program may take; a folder on a disk that does not answer can keep it waiting."""
_NAME: Final = 64
"""Characters of a program's name that are told to those who ask what runs."""
_COMMANDS: Final = TypeAdapter(tuple[RunningCommand, ...], config=ConfigDict(defer_build=True))
_KEPT: Final = TypeAdapter(tuple[ExecId, ...], config=ConfigDict(defer_build=True))


async def start(contact: Contact, inherited: Mapping[str, str], request: SpawnRequest) -> LocalProcess:
    """Start a command in a session and process group of its own.

    Args:
        contact: The workspace's keeper.
        inherited: What commands get of this program's environment.
        request: What to run.

    Raises:
        NexusError: As :meth:`nexus.providers.local.instance.LocalInstance.spawn` says.

    Cancellation: the command was not started, or is ended.
    """
    _check_user(request.user)
    async with _channel(contact) as (known, channel):
        exec_id = new_exec_id()
        cwd = environment.folder(known.description, request.cwd)
        env = environment.command(inherited, known.description, request.env, request.pty)
        payload = json.dumps(_content(request, exec_id, cwd, env)).encode("ascii")
        _check_words(request, cwd)
        if len(payload) > frames.LIMIT:
            raise not_started(request, cwd, "program", errno.E2BIG)
        answer = await _answer(channel, payload)
        if answer is None:
            raise stopped(InstanceState.FAILED, "its keeper has just ended")
        said = json.loads(answer.payload)
        if answer.kind == frames.REFUSED:
            match stage := said["stage"]:
                case "paused":
                    raise stopped(InstanceState.PAUSED, "")
                case "stopping":
                    raise stopped(InstanceState.STOPPED, "it is being stopped")
                case _:
                    raise not_started(request, cwd, stage, said["errno"])
        return LocalProcess(known.run, channel, request, Started(exec_id=exec_id, pid=said["pid"]))


async def join(contact: Contact, exec_id: ExecId, request: SpawnRequest, *, offset: int) -> LocalProcess:
    """Take over a command that was left running, or what is left of it.

    Args:
        contact: The workspace's keeper.
        exec_id: The command.
        request: As it was started.
        offset: How many bytes of its output are known.

    Raises:
        NotFound: When the keeper knows no such command, or is of a release that keeps none.
        NexusError: As :func:`start`.

    Cancellation: the command runs on.
    """
    async with _channel(contact) as (known, channel):
        content = {"op": "join", "exec_id": exec_id, "offset": offset}
        answer = await _answer(channel, json.dumps(content).encode("ascii"))
        if answer is None or answer.kind != frames.STARTED:
            raise NotFound(f"command {exec_id} does not run any more")
        said = json.loads(answer.payload)
        started = Started(exec_id=exec_id, pid=said["pid"])
        return LocalProcess(known.run, channel, request, started, known=offset, begin=said["offset"])


async def running(contact: Contact) -> tuple[RunningCommand, ...]:
    """Return the commands that run now.

    Raises:
        ProviderUnavailable: When the keeper does not answer.
    """
    said = await _said(contact, "commands")
    return () if said is None else _COMMANDS.validate_python(said["commands"])


async def kept(contact: Contact) -> frozenset[ExecId]:
    """Return the terminals' commands that can be joined.

    Raises:
        ProviderUnavailable: When the keeper does not answer.
    """
    said = await _said(contact, "kept")
    return (
        frozenset()
        if said is None
        else frozenset(_KEPT.validate_python((*_list(said["running"]), *_list(said["ended"]))))
    )


async def _said(contact: Contact, operation: str) -> Mapping[str, JsonValue] | None:
    """Ask the keeper; ``None`` where none runs."""
    if not (await contact.sight()).alive:
        return None
    try:
        return await contact.ask(operation)
    except (WorkspaceStopped, WorkspaceGone):
        return None


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


@asynccontextmanager
async def _channel(contact: Contact) -> AsyncGenerator[tuple[Known, Channel], None]:
    """Give a connection to the keeper, for the time that an answer may take. It stays open when the block ends well."""
    known, channel = await contact.connect()
    try:
        with anyio.fail_after(_ANSWER):
            yield known, channel
    except TimeoutError as exc:
        channel.close()
        raise ProviderUnavailable("the workspace's keeper does not answer", hint="stop the workspace") from exc
    except BaseException:
        channel.close()
        raise


async def _answer(channel: Channel, payload: bytes) -> frames.Frame | None:
    """Ask, and return the answer; ``None`` when the keeper has ended."""
    try:
        await channel.send(frames.REQUEST, payload)
        return await channel.receive()
    except BrokenPipeError:
        return None


def _content(request: SpawnRequest, exec_id: ExecId, cwd: str, env: Mapping[str, str]) -> Mapping[str, object]:
    return {
        "op": "spawn",
        "exec_id": exec_id,
        "argv": request.argv,
        "cwd": cwd,
        "env": env,
        "stdin": request.stdin,
        "size": None if request.pty is None else [request.pty.rows, request.pty.cols],
        "timeout": request.timeout,
        "grace": request.grace,
        "masked": request.masked,
        "program": PurePosixPath(request.argv[0]).name[:_NAME],
        "keeps_awake": request.keeps_awake,
        "keep": request.keep,
    }


def _check_user(user: str | None) -> None:
    if user is not None and user not in {str(os.getuid()), own_account().name}:
        raise Unsupported(
            f"the local backend runs commands as the user it runs as, not as {user}",
            hint="leave the user out, or use a backend that has users",
            details={"capability": str(Capability.EXEC_USER), "provider": "local"},
        )


def _check_words(request: SpawnRequest, cwd: str) -> None:
    try:
        for word in (*request.argv, cwd, *request.env, *request.env.values()):
            word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"{exc.object!r} cannot be passed to a program: it is no valid text") from exc
