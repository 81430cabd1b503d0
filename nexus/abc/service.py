"""What a program holds: the same calls in process (``WorkspaceManager``) and, later, over a socket.

Everything here takes and returns values, names a workspace by its name or id, and can be sent over a wire. The handle
:class:`nexus.Workspace` is a thin face over it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol, runtime_checkable

from anyio.abc import ByteStream
from pydantic import JsonValue

from nexus import abc, models
from nexus.abc.provider import ProcessHandle, ProgressCallback
from nexus.models.execution import SpawnRequest


@runtime_checkable
class WorkspaceService(Protocol):
    """Creates, finds and moves workspaces through their life.

    Calls that change one workspace take its lock; a second caller waits for a bounded time and then gets ``Busy``, which names
    the holder. Every call that names a workspace raises ``WorkspaceNotFound`` when there is none, and ``StateConflict`` when its
    status does not allow the call.
    """

    async def create_workspace(
        self, request: models.requests.CreateRequest, *, progress: ProgressCallback | None = None
    ) -> models.workspace.WorkspaceInfo:
        """Create a workspace, and start it unless the request says otherwise. A failed or cancelled call undoes what it did."""

    async def restore_workspace(
        self, request: models.requests.RestoreRequest, *, progress: ProgressCallback | None = None
    ) -> models.workspace.WorkspaceInfo:
        """Bring a destroyed workspace back from what was kept of it.

        Raises:
            WorkspaceNotFound, NotFound: When nothing was kept of it, or nothing at that time.
        """

    async def get(self, name: str) -> models.workspace.WorkspaceInfo:
        """Return one workspace with the status its provider reports now."""

    async def list(self, where: models.requests.ListFilter | None = None) -> tuple[models.workspace.ListEntry, ...]:
        """Return every workspace of the repository, by name; damaged records are entries of their own.

        Those that were destroyed and can be restored are listed when the filter says so.
        """

    async def current(self) -> str | None:
        """Return the name of the current workspace."""

    async def start(self, name: str, *, progress: ProgressCallback | None = None) -> models.workspace.WorkspaceInfo:
        """Make it run. Running: nothing. Paused: it is resumed. Missing: the place is made again around the worktree."""

    async def stop(
        self, name: str, *, grace: float | None = None, keep_processes: bool = False
    ) -> models.workspace.WorkspaceInfo:
        """End its processes: TERM, ``grace`` seconds (the configured ones when absent), KILL. Stopped: nothing.

        With ``keep_processes`` they are written to the backend's disk instead, memory and all, with those of its services, and go on
        where they were when it is started. Commands and terminals that run in it end all the same. Stopping it again without
        ends those that are kept.

        Raises:
            Unsupported: When they cannot be kept; it says why, and the workspace goes on.
        """

    async def pause(self, name: str) -> models.workspace.WorkspaceInfo:
        """Freeze its processes. Paused: nothing."""

    async def resume(self, name: str) -> models.workspace.WorkspaceInfo:
        """Let frozen processes go on. Running: nothing."""

    async def retry_hooks(
        self, name: str, *, progress: ProgressCallback | None = None
    ) -> models.workspace.WorkspaceInfo:
        """Run the scripts again that failed in a running workspace, and those after them; ``degraded`` says what became of it.

        Raises:
            NotTrusted: When one would act on this host and is not approved.
        """

    async def switch(self, name: str) -> models.requests.SwitchOutcome:
        """Wake this workspace, pause the current one, make this one current. When waking fails nothing has changed."""

    async def destroy(
        self, name: str, *, force: bool = False, keep_volumes: bool = False
    ) -> models.requests.DestroyOutcome:
        """Remove it with everything that was made for it. Legal in every status.

        With ``keep_volumes`` its named volumes stay, until ``prune`` removes them.

        Raises:
            UnsavedWork: When work would be lost. With ``force`` that work is first kept under a rescue ref.
        """

    async def rescues(self, name: str | None = None) -> tuple[models.rescues.Rescue, ...]:
        """Return the unsaved work that was kept when workspaces were destroyed by force, the newest first."""

    async def prune(
        self,
        *,
        dry_run: bool = False,
        older_than: float | timedelta | None = None,
        max_disk: int | None = None,
    ) -> tuple[models.rescues.PruneAction, ...]:
        """Remove what was kept of workspaces that were destroyed long ago. Nothing younger than ``older_than`` goes."""

    async def prebuild(
        self, *, start_point: str = "HEAD", force: bool = False, progress: ProgressCallback | None = None
    ) -> models.prebuilds.PrebuildOutcome:
        """Keep what ``pre-start`` and ``post-create`` come to as an image that new workspaces begin from.

        The scripts run in a workspace of their own, without secrets, and without services. Nothing is made where it is there already.

        Args:
            start_point: The commit whose files the scripts see.
            force: Whether it is made anew when it is there.
            progress: Told how it goes.

        Raises:
            HookFailed: When a script fails; nothing is kept then.
            Busy: When somebody else prebuilds for very long.

        Cancellation: nothing is kept, and the workspace is destroyed.
        """

    async def sync(self, name: str) -> models.requests.SyncOutcome:
        """Fetch, and fast-forward its branch where that is possible."""

    async def gc(self, *, dry_run: bool = False) -> tuple[models.requests.GcAction, ...]:
        """Finish or undo what crashes left, remove what is ours and has no record, destroy what has expired (never unsaved work)."""

    async def spawn(self, name: str, request: SpawnRequest, *, service: str | None = None) -> ProcessHandle:
        """Start a command inside, or where one of its services runs.

        A workspace that was put to sleep because nothing happened in it is woken for it.

        Raises:
            ServiceNotFound: When it has no such service.
        """

    async def hold(self, name: str, hold: str, *, ttl: float | timedelta, reason: str = "") -> models.activity.Hold:
        """Keep it awake for a while, or renew the hold of this name. The node's ``limits.max_hold`` caps the time.

        Args:
            name: The workspace.
            hold: What the hold is called.
            ttl: Seconds, or a span.
            reason: Why, for people.

        Raises:
            InvalidArgument: When the hold's name or its time cannot be used.
        """

    async def release(self, name: str, hold: str) -> None:
        """End a hold now.

        Raises:
            NotFound: When there is none of this name.
        """

    async def holds(self, name: str) -> tuple[models.activity.Hold, ...]:
        """Return the holds that keep it awake now, by name."""

    async def list_ports(self, name: str) -> tuple[models.activity.PortView, ...]:
        """Return its ports with what listens on them now, those that programs opened unasked at the end."""

    async def connect_port(self, name: str, port: int) -> ByteStream:
        """Connect to a TCP port inside. An open connection keeps the workspace awake; close it.

        A workspace that was put to sleep because nothing happened in it is woken for it.

        Args:
            name: The workspace.
            port: The number that the program inside listens on.

        Raises:
            PortNotOpen: When nothing listens there.
            Unsupported: When the backend has no way to it.
            WorkspaceStopped: When it does not run.
        """

    async def open_port(
        self, name: str, port: int, *, host_port: int | None = None, visibility: models.ports.Visibility = "private"
    ) -> models.ports.OpenedPort:
        """Make a TCP port of a running workspace reachable from the host, until it is closed or the service ends.

        One that is open already is returned as it is.

        Args:
            name: The workspace.
            port: The number that the program inside listens on, now or later.
            host_port: A fixed host port; any free one when absent.
            visibility: Who may reach it.

        Raises:
            PortInUse: When ``host_port`` is taken, or no port is free.
            InvalidArgument: When the port is open already with another host port or visibility.
        """

    async def close_port(self, name: str, port: int) -> None:
        """End what :meth:`open_port` began, connections included.

        Raises:
            NotFound: When it was not opened.
        """

    async def wait_port(self, name: str, port: int, *, timeout: float | timedelta | None = 60.0) -> None:
        """Return when something inside accepts connections on a port.

        Raises:
            OperationTimeout: When nothing does for ``timeout`` seconds.
        """

    def logs(
        self, name: str, *, service: str | None = None, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Give the log of its main process, or of one of its services, in chunks.

        Raises:
            ServiceNotFound: When it has no such service.
        """

    async def stats(self, name: str) -> models.instances.ResourceStats:
        """Return what it uses now."""

    async def fork(
        self, request: models.checkpoints.ForkRequest, *, progress: ProgressCallback | None = None
    ) -> tuple[models.checkpoints.ForkOutcome, ...]:
        """Make workspaces from one that is there, as it was at a checkpoint or as it is now. The one that is there is not touched.

        Each gets a branch, tree, files, volumes, ports and network of its own. One that cannot be made is a value among the
        outcomes, which come in the order of the names; the others are made all the same.

        Raises:
            CheckpointNotFound: When the checkpoint is not there.
            InvalidArgument: When a name is there twice.
            NexusError: When what the workspace is now cannot be kept; then nothing was made.

        Cancellation: what is being made is undone; forks that were done stay.
        """

    def checkpoints(self, info: models.workspace.WorkspaceInfo) -> abc.CheckpointAccess:
        """Return access to a workspace's checkpoints."""

    def files(self, info: models.workspace.WorkspaceInfo) -> abc.FileAccess:
        """Return access to a workspace's files."""

    def git(self, info: models.workspace.WorkspaceInfo) -> abc.GitAccess:
        """Return access to a workspace's git."""

    async def setting(self, key: str) -> JsonValue:
        """Return the effective value of a setting, secrets hidden; ``None`` where there is none.

        Args:
            key: A dotted key: ``defaults.image``.

        Raises:
            ConfigError: When there is no such key.
        """

    async def explain(self, key: str) -> models.explained.SettingExplained:
        """Return why a setting has its value: what every layer says, where, and who wins; secrets hidden.

        Raises:
            ConfigError: When there is no such key.
        """

    def terminals(self, info: models.workspace.WorkspaceInfo) -> abc.TerminalAccess:
        """Return access to a workspace's terminals."""

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[models.events.WorkspaceEvent]]:
        """Subscribe to what happens from now on. A subscriber that falls far behind is cut off, so that it knows."""

    async def probe(self) -> tuple[models.instances.ProviderInfo, ...]:
        """Return what each backend on the service's machine is and can do."""

    async def doctor(self, *, fix: bool = False) -> tuple[models.findings.Finding, ...]:
        """Look for everything that is wrong with the repository's workspaces and their node; with ``fix`` mend what can be."""
