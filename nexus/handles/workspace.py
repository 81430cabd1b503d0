"""``Workspace``: a handle. Cheap, owns nothing, acts through the service it came from, in process or remote."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType
from typing import Literal, TypeAlias

from anyio.abc import ByteStream

from nexus import abc, handles, models
from nexus.abc import ProgressCallback
from nexus.abc.service import WorkspaceService
from nexus.errors import NotFound
from nexus.handles.commands import Commands
from nexus.handles.holding import Holding
from nexus.handles.operation import Operation, OwnedExit
from nexus.models.display import Bundle, bundle, fields
from nexus.models.ids import WorkspaceId, WorkspaceName

OnExit: TypeAlias = Literal["destroy", "stop", "keep"]
"""What leaving a block that owns a workspace does."""


class Workspace(Commands):
    """One workspace. Two handles on the same workspace are equal.

    ``info`` is what was last seen; the calls that change the workspace bring it up to date, :meth:`refresh` asks.
    """

    def __init__(self, service: WorkspaceService, info: models.workspace.WorkspaceInfo) -> None:
        super().__init__(service, info.id)
        self._info = info

    # Who it is ------------------------------------------------------------------------------------------------------

    @property
    def id(self) -> WorkspaceId:
        """Its id, the same for ever."""
        return self._info.id

    @property
    def name(self) -> WorkspaceName:
        """Its name."""
        return self._info.name

    @property
    def info(self) -> models.workspace.WorkspaceInfo:
        """What was last seen of it."""
        return self._info

    @property
    def ports(self) -> Mapping[str, models.ports.PortMapping]:
        """Its ports by name, as last seen: ``ws.ports["web"].url``."""
        return MappingProxyType({mapping.name: mapping for mapping in self._info.ports})

    @property
    def services(self) -> Mapping[str, models.services.ServiceStatus]:
        """The programs that run beside it by name, as last seen: ``ws.services["postgres"].health``."""
        return MappingProxyType({status.name: status for status in self._info.services})

    @property
    def fs(self) -> abc.FileAccess:
        """Its files."""
        return self._service.files(self._info)

    @property
    def checkpoints(self) -> abc.CheckpointAccess:
        """Its checkpoints: ``mark = await ws.checkpoints.create("before-refactor")``."""
        return self._service.checkpoints(self._info)

    @property
    def git(self) -> abc.GitAccess:
        """Its git: status, differences, commits."""
        return self._service.git(self._info)

    @property
    def terminals(self) -> handles.terminal.Terminals:
        """Its terminals, which outlive whoever looks at them."""
        return handles.terminal.Terminals(self._service.terminals(self._info))

    async def refresh(self) -> models.workspace.WorkspaceInfo:
        """Ask for what it is now."""
        self._info = await self._service.get(self.id)
        return self._info

    async def status(self) -> models.workspace.WorkspaceStatus:
        """Return its status now."""
        return (await self.refresh()).status

    def editor_command(self, editor: str) -> models.editors.EditorCommand:
        """Return the command that opens the work tree in an editor on this machine. Nothing is run.

        Args:
            editor: A name such as ``vscode``, ``cursor`` or ``vim``, or the absolute path of a program that takes a folder.

        Raises:
            InvalidArgument: When the editor is not known; the hint lists those that are.
        """
        return models.editors.editor_command(editor, self._info.worktree_path)

    def logs(
        self, *, service: str | None = None, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Give the log of its main process in chunks: the last ``tail`` lines or all, and with ``follow`` what comes.

        Args:
            service: The log of this service instead.
            follow: Go on with what comes.
            tail: Only the last lines, this many.
        """
        return self._service.logs(self.id, service=service, follow=follow, tail=tail)

    async def stats(self) -> models.instances.ResourceStats:
        """Return what it uses now."""
        return await self._service.stats(self.id)

    # Staying awake --------------------------------------------------------------------------------------------------

    def hold(self, name: str, *, ttl: float | timedelta | None = None, reason: str = "") -> Holding:
        """Keep the workspace awake: ``async with ws.hold("build"): …`` for as long as the block lasts, ``await`` for a while.

        Args:
            name: What the hold is called. Taking one again renews it.
            ttl: Seconds, or a span; two minutes when absent. A block renews it in time; the node's ``limits.max_hold`` caps it.
            reason: Why, for people.

        Returns:
            Something to await or to enter; either gives the :class:`~nexus.models.activity.Hold`.
        """
        return Holding(self._service, self.id, name, ttl=ttl, reason=reason)

    async def release(self, name: str) -> None:
        """End a hold now."""
        await self._service.release(self.id, name)

    async def holds(self) -> tuple[models.activity.Hold, ...]:
        """Return the holds that keep it awake now."""
        return await self._service.holds(self.id)

    async def list_ports(self) -> tuple[models.activity.PortView, ...]:
        """Return its ports with what listens on them now."""
        return await self._service.list_ports(self.id)

    async def connect(self, port: int) -> ByteStream:
        """Connect to a TCP port inside: ``async with await ws.connect(3000) as stream: await stream.send(b"…")``.

        Programs that listen on the loopback address inside are reached, too. An open connection keeps the workspace awake.

        Args:
            port: The number that the program inside listens on.

        Raises:
            PortNotOpen: When nothing accepts connections there.
            WorkspaceStopped: When it does not run.
            Unsupported: When the backend has no way to it.
        """
        return await self._service.connect_port(self.id, port)

    def open_port(
        self, port: int, *, host_port: int | None = None, visibility: models.ports.Visibility = "private"
    ) -> Operation[models.ports.OpenedPort]:
        """Make a TCP port of the running workspace reachable from the host: ``async with ws.open_port(3000) as web: web.url``.

        Awaited, it stays open until :meth:`close_port`, or until the service that opened it ends.

        Args:
            port: The number that the program inside listens on, now or later.
            host_port: A fixed host port; any free one when absent.
            visibility: Who may reach it: ``private`` is this machine alone.

        Raises:
            PortInUse: When ``host_port`` is taken, or no port is free.
            InvalidArgument: When it is open already with another host port or visibility.
        """

        async def begin() -> models.ports.OpenedPort:
            return await self._service.open_port(self.id, port, host_port=host_port, visibility=visibility)

        async def end(opened: models.ports.OpenedPort, _left: OwnedExit) -> None:
            with suppress(NotFound):  # it went with the workspace
                await self._service.close_port(self.id, opened.container_port)

        return Operation(begin, end, what=f"open port {port}")

    async def close_port(self, port: int) -> None:
        """End what :meth:`open_port` began, connections included."""
        await self._service.close_port(self.id, port)

    async def wait_open(self, port: int, *, timeout: float | timedelta | None = 60.0) -> None:
        """Return when something inside listens on a port.

        Raises:
            OperationTimeout: When nothing does for ``timeout`` seconds.
        """
        await self._service.wait_port(self.id, port, timeout=timeout)

    # Life -----------------------------------------------------------------------------------------------------------

    async def start(self, *, progress: ProgressCallback | None = None) -> models.workspace.WorkspaceInfo:
        """Make it run."""
        self._info = await self._service.start(self.id, progress=progress)
        return self._info

    async def stop(self, *, grace: float | None = None, keep_processes: bool = False) -> models.workspace.WorkspaceInfo:
        """End its processes: TERM, ``grace`` seconds (the configured ones when absent), KILL.

        With ``keep_processes`` they go on where they were when it is started; see :meth:`nexus.abc.WorkspaceService.stop`.

        Raises:
            Unsupported: When they cannot be kept; it says why, and the workspace goes on.
        """
        self._info = await self._service.stop(self.id, grace=grace, keep_processes=keep_processes)
        return self._info

    async def pause(self) -> models.workspace.WorkspaceInfo:
        """Freeze its processes."""
        self._info = await self._service.pause(self.id)
        return self._info

    async def resume(self) -> models.workspace.WorkspaceInfo:
        """Let frozen processes go on."""
        self._info = await self._service.resume(self.id)
        return self._info

    async def retry_hooks(self, *, progress: ProgressCallback | None = None) -> models.workspace.WorkspaceInfo:
        """Run its scripts again that failed; ``degraded`` says what became of it."""
        self._info = await self._service.retry_hooks(self.id, progress=progress)
        return self._info

    async def fork(
        self,
        names: Sequence[str],
        *,
        at: str | models.checkpoints.Checkpoint | None = None,
        start: bool = True,
        progress: ProgressCallback | None = None,
    ) -> tuple[Fork, ...]:
        """Make workspaces from this one, many at once; this one is not touched.

        Each gets the branch ``nexus/<name>`` where this one's was, its tree with everything that is not committed, a copy of its
        files and volumes where the backend keeps those, and ports and a network of its own.

        Args:
            names: What they are called.
            at: The checkpoint to start from; as it is now when absent.
            start: Whether they run when the call returns.
            progress: Told how it moves on.

        Returns:
            One value for each name, in their order: a workspace, or why there is none.

        Raises:
            CheckpointNotFound, InvalidArgument: When the checkpoint is not there, or a name is there twice.

        Cancellation: what is being made is undone; forks that were done stay.
        """
        mark = at.id if isinstance(at, models.checkpoints.Checkpoint) else at
        request = models.checkpoints.ForkRequest(workspace=self.id, names=tuple(names), at=mark, start=start)
        outcomes = await self._service.fork(request, progress=progress)
        return tuple(Fork(self._service, outcome) for outcome in outcomes)

    async def switch(self) -> models.requests.SwitchOutcome:
        """Make it the current workspace."""
        return await self._service.switch(self.id)

    async def sync(self) -> models.requests.SyncOutcome:
        """Fetch, and fast-forward its branch where that is possible."""
        return await self._service.sync(self.id)

    async def destroy(self, *, force: bool = False, keep_volumes: bool = False) -> models.requests.DestroyOutcome:
        """Remove it; refuses with ``UnsavedWork`` while work would be lost. ``force`` keeps that work under a rescue ref.

        ``keep_volumes`` leaves its named volumes, whose names are in the outcome, until ``prune`` removes them.
        """
        return await self._service.destroy(self.id, force=force, keep_volumes=keep_volumes)

    # Showing --------------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workspace) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Workspace {self.name} {self._info.status} on {self._info.backend}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's own
        """Show it in a notebook, as last seen."""
        info = self._info
        rows = {
            "status": str(info.status),
            **({"degraded": info.degraded} if info.degraded else {}),
            "backend": info.backend,
            "branch": info.branch,
            "tree": str(info.worktree_path),
            **{f"service {each.name}": each.health or str(each.state) for each in info.services},
            **{f"port {mapping.name}": mapping.url or str(mapping.host_port) for mapping in info.ports},
        }
        return bundle(repr(self), fields(self.name, rows))


class Fork:
    """One of the workspaces that :meth:`Workspace.fork` was asked for: a handle, or why there is none."""

    def __init__(self, service: WorkspaceService, outcome: models.checkpoints.ForkOutcome) -> None:
        self.outcome: models.checkpoints.ForkOutcome = outcome
        self._workspace = Workspace(service, outcome.info) if outcome.info is not None else None

    @property
    def name(self) -> str:
        """The name that was asked for."""
        return self.outcome.name

    @property
    def workspace(self) -> Workspace | None:
        """The workspace; ``None`` when there is none."""
        return self._workspace

    @property
    def error(self) -> models.checkpoints.Failure | None:
        """What went wrong; ``None`` when nothing did."""
        return self.outcome.error

    def __repr__(self) -> str:
        return f"<Fork {self.name} {'made' if self.error is None else self.error.code}>"


async def leave(workspace: Workspace, on_exit: OnExit) -> None:
    """Do what leaving an owning block does."""
    match on_exit:
        case "destroy":
            await workspace.destroy()
        case "stop":
            await workspace.stop()
        case "keep":
            pass
