"""``exec.*``: commands."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import anyio

from nexus.daemon.call import Call, Routes
from nexus.daemon.execs import STDERR, STDOUT, RunningExec
from nexus.daemon.handlers.session import owner_of
from nexus.errors import Busy, ExecTimeout, InvalidArgument, ProcessLost
from nexus.handles.process import run as run_to_end
from nexus.models.execution import OutputLimit, Pty, SpawnRequest, Stream, Truncation
from nexus.wire.methods import exec_results as results
from nexus.wire.methods import execs as methods
from nexus.wire.methods.table import Nothing

ROUTES: Final = Routes()
_NOTHING: Final = Nothing()
_WINDOWS_OF_INPUT: Final = 4


def _request(params: methods.Command, *, stdin: bool, pty: Pty | None = None) -> SpawnRequest:
    return SpawnRequest(
        argv=params.argv,
        cwd=params.cwd,
        env=params.env,
        masked=params.masked,
        user=params.user,
        stdin=stdin,
        pty=pty,
        timeout=None if params.timeout_ms is None else params.timeout_ms / 1000,
        grace=params.grace_ms / 1000,
        wake=params.wake,
        keeps_awake=params.keeps_awake,
    )


@ROUTES.on(results.RUN)
async def run(call: Call, params: results.Run) -> results.Ran:
    """Run a command to its end. A call that is cancelled, or whose connection is lost, ends it."""
    try:
        given = None if params.input is None else base64.b64decode(params.input, validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"'input' is no base64: {error}") from None
    request = _request(params, stdin=given is not None)
    limit = OutputLimit(head=params.retain.head, tail=params.retain.tail)
    handle = await call.service.spawn(params.workspace, request, service=params.service)
    try:
        result = await run_to_end(handle, request, input=given, limit=limit)
    except (ExecTimeout, ProcessLost) as error:  # how a command ended is a result here
        result = error.result
    return results.Ran(
        exec=handle.exec_id,
        exit=methods.Exit(
            exit_code=result.exit_code,
            signal=result.signal,
            timed_out=result.timed_out,
            oom=result.oom,
            lost=result.exit_code is None,
            duration_ms=round(result.duration * 1000),
        ),
        stdout=_kept(result.stdout_bytes, result.truncated.get(Stream.STDOUT)),
        stderr=_kept(result.stderr_bytes, result.truncated.get(Stream.STDERR)),
    )


def _kept(data: bytes, lost: Truncation | None) -> results.Kept:
    text: str | None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    return results.Kept(
        text=text,
        data=base64.b64encode(data).decode() if text is None else None,
        total=len(data) if lost is None else lost.total,
        head=len(data) if lost is None else lost.kept_head,
        truncated=lost is not None,
    )


@ROUTES.on(methods.START)
async def start(call: Call, params: methods.Start) -> methods.Started:
    """Start a command, or go on with the one that the same key has started."""
    key = None if params.idempotency_key is None else (call.principal.subject, params.idempotency_key)
    async with call.hub.execs.turn(key):
        command = call.hub.execs.started_by(key)
        if command is None:
            command = await _begin(call, params, key)
    streams = _attach(call, command, methods.Offsets(), owner=not params.detach, writes=True)
    return methods.Started(exec=command.id, pid=command.pid, started_at_ms=command.started_at_ms, streams=streams)


async def _begin(call: Call, params: methods.Start, key: tuple[str, str] | None) -> RunningExec:
    call.hub.execs.room()
    info = await call.info(params.workspace)
    pty = None if params.pty is None else Pty(rows=params.pty.rows, cols=params.pty.cols, term=params.pty.term)
    request = _request(params, stdin=params.stdin, pty=pty)
    handle = await call.service.spawn(params.workspace, request, service=params.service)
    command = RunningExec(
        handle,
        request,
        workspace=info.id,
        name=info.name,
        session=None if params.detach else owner_of(call),
        policy="drop" if params.detach and "policy" not in params.model_fields_set else params.policy,
        capacity=call.hub.limits.scrollback,
        labels=params.labels,
    )
    call.hub.execs.add(command, key)
    await command.started.wait()
    return command


def _attach(
    call: Call, command: RunningExec, offsets: methods.Offsets, *, owner: bool, writes: bool
) -> methods.Streams:
    """Send what it prints on this connection, and let what comes on a stream of it be its input."""
    connection = call.connection
    connection.streams.detach(command)
    outlet = connection.streams.attach(command, {STDOUT: offsets.stdout, STDERR: offsets.stderr}, owner=owner)
    stdin = None
    if writes and command.stdin is not None and not command.stdin.ended and not command.stdin.broken:
        stdin = connection.streams.receive_into(command.stdin)
    outlet.wake()
    return methods.Streams(stdin=stdin, stdout=outlet.streams[STDOUT], stderr=outlet.streams.get(STDERR))


def _find(call: Call, id: str) -> RunningExec:  # noqa: A002
    """Return a command of a workspace that the token is for; whether there are others is nobody's business."""
    command = call.hub.execs.find(id)
    if call.principal.workspaces != "*" and not call.reaches(command.name, command.workspace):
        raise call.hub.execs.unknown(id)
    return command


@ROUTES.on(methods.ATTACH)
async def attach(call: Call, params: methods.Attach) -> methods.Reattached:
    """Go on with a command."""
    command = _find(call, params.exec)
    inlet = command.stdin
    if inlet is not None and inlet.received - inlet.taken > _WINDOWS_OF_INPUT * call.hub.limits.stream_window:
        raise Busy(f"command {command.id} has input waiting that it does not read", hint="wait until it reads")
    streams = _attach(call, command, params.offsets, owner=params.owner, writes=params.owner)
    oldest, newest = command.log.oldest, command.log.newest
    return methods.Reattached(
        streams=streams,
        oldest=methods.Offsets(stdout=oldest[STDOUT], stderr=oldest.get(STDERR, 0)),
        newest=methods.Offsets(stdout=newest[STDOUT], stderr=newest.get(STDERR, 0)),
        stdin_offset=inlet.received if inlet is not None else 0,
        running=command.running,
        pid=command.pid,
    )


@ROUTES.on(results.CLOSE_STDIN)
async def close_stdin(call: Call, params: methods.OfExec) -> Nothing:
    """End its standard input after what has come."""
    command = _find(call, params.exec)
    if command.stdin is not None:
        command.stdin.end()
    return _NOTHING


@ROUTES.on(methods.SIGNAL)
async def signal(call: Call, params: methods.SignalExec) -> Nothing:
    """Send a signal; a command that has ended is fine."""
    command = _find(call, params.exec)
    if command.running:
        await command.handle.signal(params.signal)
    return _NOTHING


@ROUTES.on(methods.RESIZE)
async def resize(call: Call, params: methods.ResizeExec) -> Nothing:
    """Tell its terminal its size."""
    command = _find(call, params.exec)
    if command.running:
        await command.handle.resize(params.rows, params.cols)
    return _NOTHING


@ROUTES.on(results.TERMINATE)
async def terminate(call: Call, params: results.Terminate) -> methods.Exit:
    """End it."""
    return await _find(call, params.exec).terminate(params.grace_ms / 1000)


@ROUTES.on(results.WAIT)
async def wait(call: Call, params: results.Wait) -> results.Waited:
    """Wait for its end."""
    command = _find(call, params.exec)
    with anyio.move_on_after(None if params.wait_ms is None else params.wait_ms / 1000):
        await command.ended.wait()
    return results.Waited(running=command.running, exit=command.exit)


@ROUTES.on(results.LIST)
async def list_all(call: Call, params: results.ListExecs) -> results.ExecList:
    """Return the commands of the workspaces that the token is for."""
    only = None if params.workspace is None else (await call.info(params.workspace)).id
    return results.ExecList(
        items=tuple(
            _told(command)
            for command in call.hub.execs.all()
            if (only is None or command.workspace == only) and call.reaches(command.name, command.workspace)
        )
    )


def _told(command: RunningExec) -> results.ExecInfo:
    newest = command.log.newest
    return results.ExecInfo(
        exec=command.id,
        workspace=command.workspace,
        program=command.request.argv[0],
        started_at_ms=command.started_at_ms,
        running=command.running,
        exit=command.exit,
        detached=command.session is None,
        labels=command.labels,
        stdout=newest[STDOUT],
        stderr=newest.get(STDERR, 0),
    )


@ROUTES.on(methods.RELEASE)
async def release(call: Call, params: methods.OfExec) -> Nothing:
    """Forget it; one that runs is ended."""
    command = _find(call, params.exec)
    await call.hub.execs.release(command)
    return _NOTHING
