"""``NexusClient``: the workspaces behind a daemon."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import current_token
from pydantic import JsonValue
from typing_extensions import override

from nexus import client, models
from nexus.abc.provider import ProcessHandle, ProgressCallback
from nexus.client.events import Events
from nexus.client.line import Line
from nexus.errors import WrongLoop
from nexus.handles.workspaces import Workspaces
from nexus.models.execution import SpawnRequest
from nexus.models.units import parse_duration, seconds
from nexus.wire import methods
from nexus.wire.methods.session import INFO, DaemonInfo, Initialized
from nexus.wire.methods.table import KeyedOfWorkspace, Nothing, OfWorkspace

if TYPE_CHECKING:
    from nexus.client.checkpoints import RemoteCheckpoints
    from nexus.client.files import RemoteFiles
    from nexus.client.git import RemoteGit
    from nexus.client.terminals import RemoteTerminals


class NexusClient(Workspaces):
    """The workspaces of one repository behind a daemon. Made by :func:`nexus.connect`; use it as a context manager.

    It is the same service as :class:`nexus.WorkspaceManager`, with the same errors. A connection that is lost is made again: reads are
    repeated, changes are done once, commands and their output go on where they were. Leaving ends the commands that were started
    through it; workspaces go on running.

    Args:
        make_line: Makes the connection that is kept.
    """

    def __init__(self, make_line: Callable[[], Line]) -> None:
        self._make_line = make_line
        self._running: AbstractAsyncContextManager[Line] | None = None
        self._kept: Line | None = None
        self._events: Events | None = None
        self._loop: object = None

    @override
    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            DaemonUnavailable: When no daemon answers.
            Unauthenticated, TokenExpired: When it does not accept the token.
            VersionMismatch: When it speaks no version of the protocol that we do.
        """
        if self._running is not None:
            raise WrongLoop("this client is open already", hint="make another one; they work together")
        self._running = self._run()
        try:
            self._kept = await self._running.__aenter__()
        except BaseException:
            self._running = None
            raise
        self._events = Events(self._kept)
        self._loop = current_token()
        return self

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._running, self._kept = self._running, None, None
        if running is not None:
            await running.__aexit__(None, None, None)  # an error of the block goes on by itself

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[Line, None]:
        line = self._make_line()
        link = await line.open()
        async with anyio.create_task_group() as group:
            group.start_soon(line.keep, link)
            group.start_soon(line.revive, group)
            try:
                yield line
            finally:
                await line.leave()
                group.cancel_scope.cancel()

    @property
    def _line(self) -> Line:
        if self._kept is None:
            raise WrongLoop("this client is not open", hint="use it inside 'async with nexus.connect(…) as nx'")
        if self._loop != current_token():
            raise WrongLoop("this client was opened on another event loop", hint="open one client in each loop")
        return self._kept

    # What it is about -----------------------------------------------------------------------------------------------

    @property
    def hello(self) -> Initialized | None:
        """What the daemon said about itself and the token when the connection was made; ``None`` while there is none."""
        link = self._line.current
        return None if link is None else link.hello

    async def daemon(self) -> DaemonInfo:
        """Return what the daemon is and how it fares."""
        return await self._line.call(INFO, Nothing())

    # The service ----------------------------------------------------------------------------------------------------

    @override
    async def create_workspace(
        self, request: models.requests.CreateRequest, *, progress: ProgressCallback | None = None
    ) -> models.workspace.WorkspaceInfo:
        params = methods.workspaces.Create(spec=request, idempotency_key=_key())
        return await self._line.call(methods.workspaces.CREATE, params, progress=progress)

    @override
    async def restore_workspace(
        self, request: models.requests.RestoreRequest, *, progress: ProgressCallback | None = None
    ) -> models.workspace.WorkspaceInfo:
        params = methods.workspaces.Restore(spec=request, idempotency_key=_key())
        return await self._line.call(methods.workspaces.RESTORE, params, progress=progress)

    @override
    async def get(self, name: str) -> models.workspace.WorkspaceInfo:
        return await self._line.call(methods.workspaces.GET, OfWorkspace(workspace=name))

    @override
    async def list(self, where: models.requests.ListFilter | None = None) -> tuple[models.workspace.ListEntry, ...]:
        params, found = (
            methods.workspaces.List(where=where or models.requests.ListFilter()),
            list[models.workspace.ListEntry](),
        )
        while True:
            page = await self._line.call(methods.workspaces.LIST, params)
            found += page.items
            if page.next_cursor is None:
                return tuple(found)
            params = params.model_copy(update={"cursor": page.next_cursor})

    @override
    async def current(self) -> str | None:
        return (await self._line.call(methods.workspaces.CURRENT, Nothing())).name

    @override
    async def start(self, name: str, *, progress: ProgressCallback | None = None) -> models.workspace.WorkspaceInfo:
        return await self._line.call(methods.workspaces.START, _change(name), progress=progress)

    @override
    async def stop(
        self, name: str, *, grace: float | None = None, keep_processes: bool = False
    ) -> models.workspace.WorkspaceInfo:
        limit = seconds(grace, name="grace")
        params = methods.workspaces.Stop(
            workspace=name,
            grace_ms=None if limit is None else _ms(limit),
            keep_processes=keep_processes,
            idempotency_key=_key(),
        )
        return await self._line.call(methods.workspaces.STOP, params)

    @override
    async def pause(self, name: str) -> models.workspace.WorkspaceInfo:
        return await self._line.call(methods.workspaces.PAUSE, _change(name))

    @override
    async def resume(self, name: str) -> models.workspace.WorkspaceInfo:
        return await self._line.call(methods.workspaces.RESUME, _change(name))

    @override
    async def retry_hooks(
        self, name: str, *, progress: ProgressCallback | None = None
    ) -> models.workspace.WorkspaceInfo:
        return await self._line.call(methods.workspaces.RETRY_HOOKS, _change(name), progress=progress)

    @override
    async def switch(self, name: str) -> models.requests.SwitchOutcome:
        return await self._line.call(methods.workspaces.SWITCH, _change(name))

    @override
    async def destroy(
        self, name: str, *, force: bool = False, keep_volumes: bool = False
    ) -> models.requests.DestroyOutcome:
        params = methods.workspaces.Destroy(
            workspace=name, force=force, keep_volumes=keep_volumes, idempotency_key=_key()
        )
        return await self._line.call(methods.workspaces.DESTROY, params)

    @override
    async def rescues(self, name: str | None = None) -> tuple[models.rescues.Rescue, ...]:
        return (await self._line.call(methods.workspaces.RESCUES, methods.workspaces.Rescues(workspace=name))).items

    @override
    def terminals(self, info: models.workspace.WorkspaceInfo) -> RemoteTerminals:
        return client.terminals.RemoteTerminals(self._line, info.id)

    @override
    def checkpoints(self, info: models.workspace.WorkspaceInfo) -> RemoteCheckpoints:
        return client.checkpoints.RemoteCheckpoints(self._line, info.id)

    @override
    async def fork(
        self, request: models.checkpoints.ForkRequest, *, progress: ProgressCallback | None = None
    ) -> tuple[models.checkpoints.ForkOutcome, ...]:
        params = methods.checkpoints.Fork(spec=request, idempotency_key=_key())
        return (await self._line.call(methods.checkpoints.FORK, params, progress=progress)).items

    @override
    async def prune(
        self,
        *,
        dry_run: bool = False,
        older_than: float | timedelta | None = None,
        max_disk: int | None = None,
    ) -> tuple[models.rescues.PruneAction, ...]:
        age = None if older_than is None else _ms(parse_duration(older_than).total_seconds())
        params = methods.workspaces.Prune(dry_run=dry_run, older_than_ms=age, max_disk=max_disk, idempotency_key=_key())
        return (await self._line.call(methods.workspaces.PRUNE, params)).items

    @override
    async def prebuild(
        self, *, start_point: str = "HEAD", force: bool = False, progress: ProgressCallback | None = None
    ) -> models.prebuilds.PrebuildOutcome:
        params = methods.workspaces.PrebuildImage(start_point=start_point, force=force, idempotency_key=_key())
        return await self._line.call(methods.workspaces.PREBUILD, params, progress=progress)

    @override
    async def sync(self, name: str) -> models.requests.SyncOutcome:
        return await self._line.call(methods.workspaces.SYNC, _change(name))

    @override
    async def gc(self, *, dry_run: bool = False) -> tuple[models.requests.GcAction, ...]:
        return (
            await self._line.call(methods.workspaces.GC, methods.workspaces.Gc(dry_run=dry_run, idempotency_key=_key()))
        ).items

    @override
    async def spawn(self, name: str, request: SpawnRequest, *, service: str | None = None) -> ProcessHandle:
        return await client.processes.RemoteProcess.start(self._line, name, request, service=service)

    @override
    async def hold(self, name: str, hold: str, *, ttl: float | timedelta, reason: str = "") -> models.activity.Hold:
        params = methods.workspaces.TakeHold(
            workspace=name,
            hold=hold,
            ttl_ms=_ms(parse_duration(ttl).total_seconds()),
            reason=reason,
            idempotency_key=_key(),
        )
        return await self._line.call(methods.workspaces.HOLD, params)

    @override
    async def release(self, name: str, hold: str) -> None:
        params = methods.workspaces.ReleaseHold(workspace=name, hold=hold, idempotency_key=_key())
        await self._line.call(methods.workspaces.RELEASE, params)

    @override
    async def holds(self, name: str) -> tuple[models.activity.Hold, ...]:
        return (await self._line.call(methods.workspaces.HOLDS, OfWorkspace(workspace=name))).items

    @override
    async def list_ports(self, name: str) -> tuple[models.activity.PortView, ...]:
        return (await self._line.call(methods.ports.LIST, OfWorkspace(workspace=name))).items

    @override
    async def connect_port(self, name: str, port: int) -> ByteStream:
        return await client.ports.RemotePort.open(self._line, name, port)

    @override
    async def open_port(
        self, name: str, port: int, *, host_port: int | None = None, visibility: models.ports.Visibility = "private"
    ) -> models.ports.OpenedPort:
        params = methods.ports.OpenPort(
            workspace=name, port=port, host_port=host_port, visibility=visibility, idempotency_key=_key()
        )
        return await self._line.call(methods.ports.OPEN, params)

    @override
    async def close_port(self, name: str, port: int) -> None:
        await self._line.call(
            methods.ports.CLOSE, methods.ports.ClosePort(workspace=name, port=port, idempotency_key=_key())
        )

    @override
    async def wait_port(self, name: str, port: int, *, timeout: float | timedelta | None = 60.0) -> None:
        limit = seconds(timeout)
        params = methods.ports.WaitPort(workspace=name, port=port, timeout_ms=None if limit is None else _ms(limit))
        await self._line.call(methods.ports.WAIT, params)

    @override
    async def logs(
        self, name: str, *, service: str | None = None, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        line = self._line
        feed = client.streams.FeedReader(line)

        def begun(found: methods.workspaces.LogStream) -> None:
            if line.current is not None:
                feed.begin(line.current, found.feed, found.stream)

        params = methods.workspaces.Logs(workspace=name, service=service, follow=follow, tail=tail)
        try:
            await line.call(methods.workspaces.LOGS, params, on_result=begun, again=True)
            while True:
                try:
                    yield await feed.receive()
                except anyio.EndOfStream:
                    return
        finally:
            feed.close()

    @override
    async def stats(self, name: str) -> models.instances.ResourceStats:
        return await self._line.call(methods.workspaces.STATS, OfWorkspace(workspace=name))

    @override
    def files(self, info: models.workspace.WorkspaceInfo) -> RemoteFiles:
        return client.files.RemoteFiles(self._line, info.id)

    @override
    def git(self, info: models.workspace.WorkspaceInfo) -> RemoteGit:
        return client.git.RemoteGit(self._line, info.id)

    @override
    async def setting(self, key: str) -> JsonValue:
        return (await self._line.call(methods.settings.GET, methods.settings.OfKey(key=key))).value

    @override
    async def explain(self, key: str) -> models.explained.SettingExplained:
        return await self._line.call(methods.settings.EXPLAIN, methods.settings.OfKey(key=key))

    @override
    def events(self) -> AbstractAsyncContextManager[AsyncIterator[models.events.WorkspaceEvent]]:
        line = self._line
        if self._events is None:
            self._events = Events(line)
        return self._events.subscribe()

    @override
    async def probe(self) -> tuple[models.instances.ProviderInfo, ...]:
        return (await self._line.call(methods.workspaces.PROBE, Nothing())).items

    @override
    async def doctor(self, *, fix: bool = False) -> tuple[models.findings.Finding, ...]:
        params = methods.workspaces.Doctor(fix=fix, idempotency_key=_key())
        return (await self._line.call(methods.workspaces.DOCTOR, params)).items


def _key() -> str:
    """Return a key of its own for each thing that is to be done once."""
    return uuid.uuid4().hex


def _ms(duration: float) -> int:
    return round(duration * 1000)


def _change(name: str) -> KeyedOfWorkspace:
    return KeyedOfWorkspace(workspace=name, idempotency_key=_key())
