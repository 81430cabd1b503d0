"""One run of one script inside a workspace, from its start to what became of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

import anyio

from nexus.abc import Instance, ProgressCallback
from nexus.errors import NexusError
from nexus.handles.beside import beside
from nexus.handles.process import Process
from nexus.models.events import HookFinished, HookOutput, HookStarted
from nexus.models.execution import Exited, Output, OutputLimit, SpawnRequest, Stream
from nexus.models.hooks import Hook, HookResult
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.context import Context
from nexus.workspace.environment import with_secrets
from nexus.workspace.hook_output import HookRecorder
from nexus.workspace.hook_script import invocation

VARIABLE: Final = "NEXUS_HOOK"
"""Tells a script at which moment it runs."""
GRACE: Final = 5.0
"""Seconds between TERM and KILL for a script that has reached its time limit."""
_NOTHING: Final = OutputLimit(head=0, tail=0)
_CLOSING: Final = 10.0


async def run_hook(
    context: Context, record: WorkspaceRecord, instance: Instance, hook: Hook, report: ProgressCallback
) -> HookResult:
    """Run a script to its end. Whatever goes wrong is in the result.

    Its environment is the workspace's, with secrets, and ``NEXUS_HOOK``; its folder the tree; its standard input empty. What it
    started in the background and left running stays when it ends by itself, and is ended with it at the time limit.

    Cancellation: the script's process group has been ended when the call returns.
    """
    try:
        log = await context.hook_logs.create(record.name, hook.name)
    except NexusError as error:
        return told(context, record, HookResult(hook=hook.name, problem=error.message, hint=error.hint))
    context.bus.publish(HookStarted(workspace=record.id, name=record.name, hook=hook.name, log=log.path))
    report(hook.name, "running")
    begun = time.monotonic()
    result = HookResult(hook=hook.name, log=log.path)
    try:
        request = await with_secrets(context, record, _request(hook))
        redactor = context.secrets.redactor()
        recorder = HookRecorder(hook.name, log, redactor, report=report, publish=publisher(context, record, hook))
        ended = await beside(lambda: _to_the_end(instance, request, recorder), log.drain)
        result = _result(result, ended, recorder)
    except NexusError as error:
        result = result.model_copy(update={"problem": error.message, "hint": error.hint})
    finally:
        result = result.model_copy(update={"seconds": time.monotonic() - begun})
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSING):
            if not result.ok:
                log.put(f"\n[nexus: {result.model_copy(update={'log': None}).sentence}]\n".encode())
            await log.close()
    return told(context, record, result)


def _request(hook: Hook) -> SpawnRequest:
    made = invocation(hook.name, hook.run, nonce=secrets.token_hex(16))
    return SpawnRequest(
        argv=made.argv,
        env={VARIABLE: hook.name, **made.env},
        timeout=None if hook.timeout is None else hook.timeout.total_seconds(),
        grace=GRACE,
        leaves_running=True,
    )


async def _to_the_end(instance: Instance, request: SpawnRequest, recorder: HookRecorder) -> Exited:
    process = Process(await instance.spawn(request), request, limit=_NOTHING)
    ended = Exited(exit_code=None, lost=True)
    try:
        async for event in process:
            if isinstance(event, Output):
                recorder.take(event)
            elif isinstance(event, Exited):
                ended = event
        recorder.finish()
    finally:
        await process.aclose()
    return ended


def _result(result: HookResult, ended: Exited, recorder: HookRecorder) -> HookResult:
    problem = "the place where it ran went away before it ended" if ended.lost else None
    return result.model_copy(
        update={
            "exit_code": ended.exit_code,
            "timed_out": ended.timed_out,
            "tail": recorder.tail,
            "problem": problem,
        }
    )


def publisher(context: Context, record: WorkspaceRecord, hook: Hook) -> Callable[[Stream, str], None]:
    """Return what tells observers of each piece that a script prints."""

    def publish(stream: Stream, text: str) -> None:
        context.bus.publish(HookOutput(workspace=record.id, name=record.name, hook=hook.name, stream=stream, text=text))

    return publish


def told(context: Context, record: WorkspaceRecord, result: HookResult) -> HookResult:
    """Tell observers that a script has ended, and return what became of it."""
    context.bus.publish(HookFinished(workspace=record.id, name=record.name, result=result))
    return result
