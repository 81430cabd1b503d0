"""The terminals of a repository's workspaces: what a hub needs of the place one runs in, and the access that users get."""

from __future__ import annotations

import signal
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from nexus.abc import Instance, KeptProcess, ProcessHandle, SupportsKeeping
from nexus.errors import NexusError, NotFound, WorkspaceStopped
from nexus.handles.process import run
from nexus.models.execution import SpawnRequest
from nexus.models.ids import ExecId, TerminalId, WorkspaceId
from nexus.models.instances import InstanceState
from nexus.models.terminals import AttachRequest, TerminalExit, TerminalInfo, TerminalRequest
from nexus.models.workspace import WorkspaceRecord, WorkspaceStatus
from nexus.secrets import Redactor
from nexus.state import TerminalStore
from nexus.terminals.hub import TerminalHub
from nexus.terminals.session import Session
from nexus.workspace import attending
from nexus.workspace.context import Context
from nexus.workspace.environment import with_secrets

_ASKING: Final = 5.0
"""Seconds that a question to a workspace's process table may take."""
_AGAIN: Final = timedelta(seconds=1)
"""Time between two looks at whether a workspace that is typed into sleeps."""
_UP: Final = frozenset({InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.UNKNOWN})

# $1 is a terminal's id, the rest are signals. What carries the id in its environment was started in that terminal: a shell with job control
# puts itself and each of its jobs into groups of their own, which a signal to the command's group does not reach.
_SIGNAL: Final = """\
_id=$1
shift
for signal; do
  found=
  for place in /proc/[0-9]*/environ; do
    if grep -q "NEXUS_TERMINAL=$_id" "$place" 2>/dev/null; then
      place=${place#/proc/}
      kill "-$signal" "${place%/environ}" 2>/dev/null && found=1
    fi
  done
  shift
  [ -n "$found" ] && [ $# -gt 0 ] || exit 0
  sleep 0.2 2>/dev/null || sleep 1
done
"""


def terminal_hub(context: Context) -> TerminalHub:
    """Return what serves the terminals of an open repository."""

    async def host(workspace: WorkspaceId) -> WorkspaceHost:
        record = await context.records.load(workspace)
        return WorkspaceHost(context, record, await context.backends.instance(record))

    return TerminalHub(TerminalStore(context.home), host, context.clock)


class WorkspaceHost:
    """Implements :class:`nexus.terminals.host.TerminalHost`.

    Args:
        context: The open repository.
        record: Which workspace.
        instance: Where it runs.
    """

    def __init__(self, context: Context, record: WorkspaceRecord, instance: Instance) -> None:
        self._context = context
        self._workspace = record.id
        self._backend = record.backend
        self._instance = instance
        self._looked: datetime | None = None

    @property
    def survives(self) -> bool:
        """Whether its programs can outlive this process."""
        return isinstance(self._instance, SupportsKeeping)

    @property
    def shells(self) -> tuple[str, ...]:
        """What a terminal without a command may run: on this host its user's own shell first."""
        own = self._context.stack.environment.get("SHELL", "") if self._backend == "local" else ""
        return tuple(dict.fromkeys((*([own] if own.startswith("/") else []), "bash", "sh")))

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        """Start a program, waking the workspace when nothing but idleness stopped it."""
        record = await self._context.records.load(self._workspace)
        return await attending.spawn(self._context, record, await with_secrets(self._context, record, request))

    async def kept(self) -> frozenset[ExecId]:
        """Return the programs that can be joined."""
        return await self._instance.kept() if isinstance(self._instance, SupportsKeeping) else frozenset()

    async def rejoin(self, exec_id: ExecId, request: SpawnRequest, *, offset: int) -> KeptProcess:
        """Take over a program that runs on by itself.

        Raises:
            NotFound: When it does not.
        """
        if not isinstance(self._instance, SupportsKeeping):
            raise NotFound(f"command {exec_id} ended with the process that had started it")
        handle = await self._instance.rejoin(exec_id, request, offset=offset)
        return attending.Attended(self._context, self._workspace, handle, request)

    async def runs(self) -> bool:
        """Return whether the workspace runs, or is only paused. What cannot be found out counts as running."""
        return (await self._instance.status()).state in _UP

    async def folder_of(self, pid: int) -> str | None:
        """Return the folder that a process inside is in, where the system says."""
        text = await self._ask(("readlink", f"/proc/{pid}/cwd"))
        folder = text.removesuffix("\n")
        plain = folder.startswith("/") and folder.isprintable() and not folder.endswith(" (deleted)")
        return folder if plain else None

    async def hang_up(self, terminal: TerminalId, handle: ProcessHandle) -> None:
        """Tell everything in a terminal that its window is closed."""
        if not self.survives:
            await self._ask(("sh", "-c", _SIGNAL, "sh", terminal, "HUP"))
        with suppress(NexusError):
            await handle.signal(signal.SIGHUP)

    async def end_leftover(self, terminal: TerminalId) -> None:
        """End what an earlier program of a terminal left running, where there is a shell to do it."""
        await self._ask(("sh", "-c", _SIGNAL, "sh", terminal, "HUP", "KILL"))

    async def before_typing(self) -> None:
        """Wake the workspace when it sleeps because nothing happened in it. What others did to it is seen within a second."""
        now = self._context.clock.now()
        if self._looked is not None and abs(now - self._looked) < _AGAIN:
            return
        self._looked = now
        record = await self._context.records.load(self._workspace)
        if record.status is WorkspaceStatus.RUNNING or (
            record.status is not WorkspaceStatus.PAUSED and not record.asleep_since
        ):
            return
        if not await attending.wake(self._context, record.name):
            raise WorkspaceStopped(f"workspace {record.name} is paused", hint="resume it first")

    def redactor(self) -> Redactor:
        """Return what takes the values of secrets out."""
        return self._context.secrets.redactor()

    async def _ask(self, argv: tuple[str, ...]) -> str:
        """Run a small tool that counts as nobody's work, and return what it printed; nothing when it cannot be run."""
        request = SpawnRequest(argv=argv, timeout=_ASKING, grace=0.5, wake=False, keeps_awake=False)
        try:
            async with self._context.in_use.starting(self._workspace, active=False):
                handle = await self._instance.spawn(request)
            return (await run(handle, request)).stdout
        except NexusError:
            return ""


class WorkspaceTerminals:
    """Implements :class:`nexus.abc.TerminalAccess` for one workspace, in process.

    Args:
        hub: Serves them.
        workspace: Which workspace.
    """

    def __init__(self, hub: TerminalHub, workspace: WorkspaceId) -> None:
        self._hub = hub
        self._workspace = workspace

    async def open(self, request: TerminalRequest) -> TerminalInfo:
        """Open a terminal."""
        return await self._hub.open(self._workspace, request)

    async def list(self) -> tuple[TerminalInfo, ...]:
        """Return every terminal, the oldest first."""
        return await self._hub.list(self._workspace)

    async def get(self, terminal: TerminalId) -> TerminalInfo:
        """Return one terminal."""
        return await self._hub.get(self._workspace, terminal)

    async def attach(self, terminal: TerminalId, request: AttachRequest | None = None) -> Session:
        """Look at a terminal. One that is only kept is opened again first."""
        return await self._hub.attach(self._workspace, terminal, request or AttachRequest())

    async def wait(self, terminal: TerminalId) -> TerminalExit:
        """Wait for its program to end."""
        return await self._hub.wait(self._workspace, terminal)

    async def kill(self, terminal: TerminalId, *, grace: float = 2.0) -> TerminalInfo:
        """End its program and forget the terminal."""
        return await self._hub.kill(self._workspace, terminal, grace=grace)

    async def rename(self, terminal: TerminalId, name: str) -> TerminalInfo:
        """Call it by another name."""
        return await self._hub.rename(self._workspace, terminal, name)
