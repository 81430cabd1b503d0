"""What a daemon in the background does before and after it serves: it leaves whoever started it, and tells them how it went."""

from __future__ import annotations

import os
import sys
from io import RawIOBase

import anyio
from pydantic import ValidationError

from nexus.daemon.discovery import Announcement
from nexus.daemon.launch import LaunchSpec
from nexus.daemon.readiness import Report, failed, report
from nexus.serving.process import Serving


def run_in_background() -> int:
    """Be the daemon that :func:`start_daemon` starts: detach, serve, and report on the descriptor that standard input names.

    Returns:
        The exit status: 0 when it was told to stop, 1 when it could not start.
    """
    try:
        spec = LaunchSpec.model_validate_json(sys.stdin.buffer.read())
    except ValidationError:
        sys.stderr.write("this is started by `boulder daemon start`\n")
        return 2
    if os.fork():  # whoever started us has no child to wait for, and the daemon is no leader of a session
        os._exit(0)
    os.set_inheritable(spec.report_to, False)
    with os.fdopen(spec.report_to, "wb", 0) as starter:
        report(starter, Report(pid=os.getpid()))
        try:
            anyio.run(_serve_in_background, spec, starter)
        except BaseException as error:  # noqa: BLE001 - the boundary: whoever waits for us is told
            report(starter, failed(error))
            return 1
    return 0


async def _serve_in_background(spec: LaunchSpec, starter: RawIOBase) -> None:
    serving = Serving(spec.project, flags=spec.flags)

    def ready(announcement: Announcement) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        report(starter, Report(ready=announcement))
        starter.close()

    async with anyio.create_task_group() as group:
        group.start_soon(serving.follow_signals)
        await serving.run(ready=ready)
        group.cancel_scope.cancel()
