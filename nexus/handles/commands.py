"""``Commands``: running programs in a workspace, of which nothing but its name has to be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from nexus.abc.service import WorkspaceService
from nexus.handles.operation import Operation, OwnedExit
from nexus.handles.process import Process, run
from nexus.models.execution import ExecEvent, ExecResult, OutputLimit, Pty, SpawnRequest
from nexus.models.units import seconds


class Commands:
    """Runs commands in one workspace.

    Args:
        service: What runs them.
        workspace: The workspace's name or id.
    """

    def __init__(self, service: WorkspaceService, workspace: str) -> None:
        self._service = service
        self._workspace = workspace

    async def exec(
        self,
        *argv: str,
        timeout: float | timedelta | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        input: bytes | str | None = None,  # noqa: A002 - subprocess.run has taught everybody this name
        check: bool = False,
        on_event: Callable[[ExecEvent], None] | None = None,
        limit: OutputLimit | None = None,
        wake: bool = True,
        service: str | None = None,
    ) -> ExecResult:
        """Run a command to its end. A status other than zero is a result, not an error, unless ``check`` says so.

        Args:
            argv: The program and its arguments; no shell is involved.
            timeout: Seconds until the whole process group is killed.
            cwd: Folder to run in; the work tree's root when absent, relative to it when relative.
            env: Added to the workspace's environment.
            user: User to run as, where the backend has users.
            input: Given to standard input, which is at end of file otherwise.
            check: Raise ``ExecFailed`` for a status other than zero.
            on_event: Called with each event as it comes; must return at once.
            limit: How much output the result keeps; 10 MiB per stream when absent.
            wake: Wake a workspace that was put to sleep because nothing happened in it. One that was stopped by hand stays so.
            service: Run it where this service runs, with its environment, not in the workspace itself.

        Returns:
            The status and the output.

        Raises:
            ExecTimeout: At the time limit; its ``result`` holds the output until then.
            ExecFailed: With ``check``, for a status other than zero.
            ExecStartError: When the program is not there or cannot be executed.
            WorkspaceStopped, WorkspaceGone: When it does not run, or its place was removed.
            ServiceNotFound: When it has no such service.

        Cancellation: The command's process group is killed before the call returns.
        """
        request = SpawnRequest(
            argv=argv, cwd=cwd, env=env or {}, user=user, stdin=input is not None, timeout=seconds(timeout), wake=wake
        )
        handle = await self._service.spawn(self._workspace, request, service=service)
        return await run(handle, request, input=input, check=check, on_event=on_event, limit=limit or OutputLimit())

    async def shell(
        self,
        script: str,
        *,
        shell: str = "sh",
        timeout: float | timedelta | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        input: bytes | str | None = None,  # noqa: A002
        check: bool = False,
        on_event: Callable[[ExecEvent], None] | None = None,
        limit: OutputLimit | None = None,
        wake: bool = True,
        service: str | None = None,
    ) -> ExecResult:
        """Run a shell script to its end; otherwise as :meth:`exec`.

        Args:
            script: Text for ``<shell> -c``.
            shell: The shell, which has to be there.
            timeout: As for :meth:`exec`, like all that follow.
            cwd: See there.
            env: See there.
            user: See there.
            input: See there.
            check: See there.
            on_event: See there.
            limit: See there.
            wake: See there.
            service: See there.
        """
        return await self.exec(
            shell,
            "-c",
            script,
            timeout=timeout,
            cwd=cwd,
            env=env,
            user=user,
            input=input,
            check=check,
            on_event=on_event,
            limit=limit,
            wake=wake,
            service=service,
        )

    def spawn(
        self,
        *argv: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: bool = False,
        pty: Pty | None = None,
        timeout: float | timedelta | None = None,
        grace: float = 5.0,
        wake: bool = True,
        keeps_awake: bool = True,
        service: str | None = None,
    ) -> Operation[Process]:
        """Start a command and work with it while it runs.

        As ``async with`` block it is ended on leaving: TERM, ``grace`` seconds, KILL, for the whole process group.

        Args:
            argv: The program and its arguments.
            cwd: Folder to run in.
            env: Added to the workspace's environment.
            user: User to run as.
            stdin: Whether you will write to it; otherwise its standard input is at end of file.
            pty: Run it on a terminal of this size.
            timeout: Seconds until it is killed.
            grace: Seconds between TERM and KILL.
            wake: As for :meth:`exec`.
            keeps_awake: Whether the workspace counts as in use while it runs; off for a server that only waits.
            service: Start it where this service runs, not in the workspace itself.

        Returns:
            An operation that gives the :class:`Process`.
        """
        request = SpawnRequest(
            argv=argv,
            cwd=cwd,
            env=env or {},
            user=user,
            stdin=stdin,
            pty=pty,
            timeout=seconds(timeout),
            grace=grace,
            wake=wake,
            keeps_awake=keeps_awake,
        )

        async def begin() -> Process:
            return Process(await self._service.spawn(self._workspace, request, service=service), request)

        return Operation(begin, _end, what=f"spawn {argv[0] if argv else ''}")


async def _end(process: Process, left: OwnedExit) -> None:  # noqa: ARG001 - ended however the block was left
    await process.aclose()
