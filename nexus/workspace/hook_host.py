"""The one script that runs on this host, and only after its user has approved that very text: ``initialize``.

It runs in the main checkout, never in the workspace's tree: a script names files, and what is approved is its text and not theirs.
Programs inside an isolated workspace can write its tree, and would have their code run here at the next start.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, Process

from nexus.abc import ProgressCallback
from nexus.errors import NexusError
from nexus.handles.beside import beside
from nexus.models.events import HookStarted
from nexus.models.execution import Output, Stream
from nexus.models.hooks import Hook, HookResult
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.hook_output import HookRecorder
from nexus.workspace.hook_run import GRACE, VARIABLE, publisher, told
from nexus.workspace.hook_script import invocation
from nexus.workspace.records import workspace_env

_CLOSING: Final = 10.0
_PRIVATE: Final = "NEXUS_SECRETS_PASSPHRASE"


async def run_on_host(context: Context, record: WorkspaceRecord, hook: Hook, report: ProgressCallback) -> HookResult:
    """Run a script in the main checkout, with its user's own environment. Whatever goes wrong is in the result.

    What it left running is ended with it: nothing of a workspace runs here before that is started.

    Cancellation: the script's process group has been ended when the call returns.
    """
    try:
        log = await context.hook_logs.create(record.name, hook.name)
    except NexusError as error:
        return told(context, record, HookResult(hook=hook.name, problem=error.message, hint=error.hint))
    context.bus.publish(HookStarted(workspace=record.id, name=record.name, hook=hook.name, log=log.path))
    report(hook.name, "running on this host")
    begun, result = time.monotonic(), HookResult(hook=hook.name, log=log.path)
    recorder = HookRecorder(
        hook.name, log, context.secrets.redactor(), report=report, publish=publisher(context, record, hook)
    )
    try:
        code, late = await beside(lambda: _to_the_end(context, record, hook, recorder), log.drain)
        result = result.model_copy(update={"exit_code": code, "timed_out": late, "tail": recorder.tail})
    except OSError as error:
        result = result.model_copy(update={"problem": f"it could not be started: {error.strerror or error}"})
    finally:
        result = result.model_copy(update={"seconds": time.monotonic() - begun})
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING):
            await log.close()
    return told(context, record, result)


async def _to_the_end(
    context: Context, record: WorkspaceRecord, hook: Hook, recorder: HookRecorder
) -> tuple[int | None, bool]:
    made = invocation(hook.name, hook.run, nonce=secrets.token_hex(16))
    own = {name: value for name, value in context.stack.environment.items() if name != _PRIVATE}
    process = await anyio.open_process(
        made.argv,
        stdin=subprocess.DEVNULL,
        cwd=context.repository.root,
        env={**own, **workspace_env(record), **made.env, VARIABLE: hook.name},
        start_new_session=True,
    )
    try:
        with anyio.move_on_after(None if hook.timeout is None else hook.timeout.total_seconds()) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_hand_on, process.stdout, Stream.STDOUT, recorder)
                group.start_soon(_hand_on, process.stderr, Stream.STDERR, recorder)
                await process.wait()
                # What it left running may hold its output open for ever.
                _signal(process, signal.SIGTERM)
        recorder.finish()
        return process.returncode, scope.cancelled_caught
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _hand_on(stream: ByteReceiveStream | None, name: Stream, recorder: HookRecorder) -> None:
    offset = 0
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        while stream is not None:
            data = await stream.receive()
            recorder.take(Output(stream=name, offset=offset, data=data))
            offset += len(data)


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _end(process: Process) -> None:
    """End what is left of the script's group, and let go of its pipes."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with anyio.move_on_after(GRACE):
            await process.wait()
    _signal(process, signal.SIGKILL)
    with anyio.move_on_after(GRACE):
        await process.aclose()
