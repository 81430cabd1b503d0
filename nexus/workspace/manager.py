"""The workspaces of one repository, in this process. A thin face: each call takes its lock and hands on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import current_token
from pydantic import JsonValue
from typing_extensions import override

from nexus import abc, models
from nexus.abc import ProcessHandle, ProgressCallback
from nexus.errors import WrongLoop
from nexus.handles.workspaces import Workspaces
from nexus.models.activity import Hold, PortView
from nexus.models.events import WorkspaceEvent
from nexus.models.execution import SpawnRequest
from nexus.models.features import Features
from nexus.models.findings import Finding
from nexus.models.instances import ProviderInfo, ResourceStats
from nexus.models.ports import OpenedPort, Visibility
from nexus.models.prebuilds import PrebuildOutcome
from nexus.models.requests import (
    CreateRequest,
    DestroyOutcome,
    GcAction,
    ListFilter,
    RestoreRequest,
    SwitchOutcome,
    SyncOutcome,
)
from nexus.models.rescues import PruneAction, Rescue
from nexus.models.units import parse_duration, seconds
from nexus.models.workspace import ListEntry, Repository, WorkspaceInfo, WorkspaceRecord
from nexus.workspace import operations
from nexus.workspace.context import Context

if TYPE_CHECKING:
    from nexus.config import ConfigStack
    from nexus.ports import PortAllocator
    from nexus.workspace.checkpoint_access import Checkpoints
    from nexus.workspace.port_access import PortAccess
    from nexus.workspace.reviewing import Trust
    from nexus.workspace.terminals import WorkspaceTerminals


class WorkspaceManager(Workspaces):
    """Creates, finds and moves the workspaces of one repository. Made by :func:`nexus.open`; use it as a context manager.

    Entering connects; leaving closes connections and nothing else: workspaces go on running. It belongs to the event loop it was
    entered on and raises ``WrongLoop`` on any other.
    """

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Context]]) -> None:
        self._connect = connect
        self._connection: AbstractAsyncContextManager[Context] | None = None
        self._context: Context | None = None
        self._reach: PortAccess | None = None
        self._loop: object = None

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise WrongLoop(
                "this manager is open already", hint="open another one for the same repository; they work together"
            )
        self._connection = self._connect()
        self._context = await self._connection.__aenter__()
        self._loop = current_token()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        reach, self._reach = self._reach, None
        if reach is not None:
            await reach.aclose()
        self._context = None
        if connection is not None:
            await connection.__aexit__(kind, error, trace)

    @property
    def _open(self) -> Context:
        if self._context is None:
            raise WrongLoop("this manager is not open", hint="use it inside 'async with nexus.open(…) as nx'")
        if self._loop != current_token():
            raise WrongLoop("this manager was opened on another event loop", hint="open one manager in each loop")
        return self._context

    @property
    def _ports(self) -> PortAccess:
        context = self._open
        if self._reach is None:
            self._reach = operations.port_access.PortAccess(context)
        return self._reach

    # What it is about -----------------------------------------------------------------------------------------------

    @property
    def repository(self) -> Repository:
        """The repository whose workspaces these are."""
        return self._open.repository

    @property
    def config(self) -> ConfigStack:
        """The configuration it goes by."""
        return self._open.stack

    def reconfigure(self, config: ConfigStack) -> None:
        """Go by another configuration from now on: limits, idleness, defaults, services. What is under way ends by the old one.

        Raises:
            ConfigError: When it differs in what is decided on opening: where state and trees are, who shares the node, how a backend
                that is in use is reached. Nothing is changed then.
        """
        self._open.adopt(config)

    @property
    def ports(self) -> PortAllocator:
        """The node's port allocator, for programs that only want ports."""
        return self._open.allocator

    @property
    def trust(self) -> Trust:
        """What the project would run on this host, and what of it you have approved."""
        return operations.reviewing.Trust(self._open)

    # The service ----------------------------------------------------------------------------------------------------

    @override
    async def create_workspace(
        self, request: CreateRequest, *, progress: ProgressCallback | None = None
    ) -> WorkspaceInfo:
        context = self._open
        async with operations.recovery.holding(context, request.name, purpose=f"creating workspace {request.name}"):
            work = await operations.creation_begin.begin(context, request, progress)
            return await operations.observing.look(context, await work.run(request))

    @override
    async def restore_workspace(
        self, request: RestoreRequest, *, progress: ProgressCallback | None = None
    ) -> WorkspaceInfo:
        point = await operations.restoring.find(self._open, request.name, request.at)
        return await self.create_workspace(operations.restoring.request_for(point, request), progress=progress)

    @override
    async def get(self, name: str) -> WorkspaceInfo:
        context = self._open
        record = await context.records.load(name)
        await context.backends.learn(record.backend)
        return await operations.activity.told(context, record, await operations.observing.look(context, record))

    @override
    async def list(self, where: ListFilter | None = None) -> tuple[ListEntry, ...]:
        return await operations.observing.list_all(self._open, where)

    @override
    async def current(self) -> str | None:
        return await self._open.store.current()

    @override
    async def start(self, name: str, *, progress: ProgressCallback | None = None) -> WorkspaceInfo:
        async with self._locked(name, "starting") as record:
            return await self._after(await operations.running.start(self._open, record, progress))

    @override
    async def stop(self, name: str, *, grace: float | None = None, keep_processes: bool = False) -> WorkspaceInfo:
        processes = operations.hibernating.Processes.KEEP if keep_processes else operations.hibernating.Processes.END
        async with self._locked(name, "stopping") as record:
            limit = seconds(grace, name="grace") or self._open.backends.stop_grace(record.backend)
            return await self._after(
                await operations.running.stop(self._open, record, grace=limit, processes=processes)
            )

    @override
    async def pause(self, name: str) -> WorkspaceInfo:
        async with self._locked(name, "pausing") as record:
            return await self._after(await operations.running.pause(self._open, record))

    @override
    async def resume(self, name: str) -> WorkspaceInfo:
        async with self._locked(name, "resuming") as record:
            return await self._after(await operations.running.resume(self._open, record))

    @override
    async def retry_hooks(self, name: str, *, progress: ProgressCallback | None = None) -> WorkspaceInfo:
        async with self._locked(name, "running the scripts of") as record:
            return await self._after(await operations.hooks.retry(self._open, record, progress))

    @override
    async def switch(self, name: str) -> SwitchOutcome:
        return await operations.switching.switch(self._open, name, operations.recovery.holding)

    @override
    async def destroy(self, name: str, *, force: bool = False, keep_volumes: bool = False) -> DestroyOutcome:
        async with self._locked(name, "destroying") as record:
            outcome = await operations.destruction.destroy(self._open, record, force=force, keep_volumes=keep_volumes)
            await self._ports.forget(record.id)
            return outcome

    @override
    async def rescues(self, name: str | None = None) -> tuple[Rescue, ...]:
        return await self._open.worktrees.rescues(name)

    @override
    async def prune(
        self,
        *,
        dry_run: bool = False,
        older_than: float | timedelta | None = None,
        max_disk: int | None = None,
    ) -> tuple[PruneAction, ...]:
        context = self._open
        age = context.settings.keep_destroyed if older_than is None else parse_duration(older_than)
        return await operations.pruning.prune(context, dry_run=dry_run, older_than=age, max_disk=max_disk)

    @override
    async def prebuild(
        self, *, start_point: str = "HEAD", force: bool = False, progress: ProgressCallback | None = None
    ) -> PrebuildOutcome:
        return await operations.prebuilding.prebuild(
            self._open, start_point=start_point, force=force, progress=progress
        )

    @override
    async def sync(self, name: str) -> SyncOutcome:
        context = self._open
        async with self._locked(name, "syncing") as record:
            return await operations.syncing.sync(context, record)

    @override
    async def gc(self, *, dry_run: bool = False) -> tuple[GcAction, ...]:
        return await operations.sweeping.sweep(self._open, dry_run=dry_run)

    @override
    async def spawn(self, name: str, request: SpawnRequest, *, service: str | None = None) -> ProcessHandle:
        context = self._open
        record = await context.records.load(name)
        if service is not None:
            instance = await context.backends.instance(record)
            return await operations.services_life.spawn(record, instance, service, request)
        return await operations.attending.spawn(
            context, record, await operations.environment.with_secrets(context, record, request)
        )

    @override
    async def hold(self, name: str, hold: str, *, ttl: float | timedelta, reason: str = "") -> Hold:
        record = await self._open.records.load(name)
        return await operations.holding.take(self._open, record, hold, ttl=parse_duration(ttl), reason=reason)

    @override
    async def release(self, name: str, hold: str) -> None:
        await operations.holding.release(self._open, await self._open.records.load(name), hold)

    @override
    async def holds(self, name: str) -> tuple[Hold, ...]:
        return await operations.holding.active(self._open, await self._open.records.load(name))

    @override
    async def list_ports(self, name: str) -> tuple[PortView, ...]:
        return await self._ports.list(name)

    @override
    async def connect_port(self, name: str, port: int) -> ByteStream:
        return await self._ports.connect(name, port)

    @override
    async def open_port(
        self, name: str, port: int, *, host_port: int | None = None, visibility: Visibility = "private"
    ) -> OpenedPort:
        return await self._ports.open(name, port, host_port=host_port, visibility=visibility)

    @override
    async def close_port(self, name: str, port: int) -> None:
        await self._ports.close(name, port)

    @override
    async def wait_port(self, name: str, port: int, *, timeout: float | timedelta | None = 60.0) -> None:
        await self._ports.wait(name, port, timeout)

    @override
    async def logs(
        self, name: str, *, service: str | None = None, follow: bool = False, tail: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        context = self._open
        log = operations.measuring.logs(
            context, await context.records.load(name), service=service, follow=follow, tail=tail
        )
        async with aclosing(log) as chunks:
            async for chunk in chunks:
                yield chunk

    @override
    async def stats(self, name: str) -> ResourceStats:
        return await operations.measuring.stats(self._open, await self._open.records.load(name))

    @override
    async def fork(
        self, request: models.checkpoints.ForkRequest, *, progress: ProgressCallback | None = None
    ) -> tuple[models.checkpoints.ForkOutcome, ...]:
        context = self._open
        parent = await context.records.load(request.workspace)
        names = {parent.name, *operations.forking.valid_names(request)}
        async with operations.recovery.holding(context, *names, purpose=f"forking workspace {parent.name}"):
            return await operations.forking.fork(context, await context.records.load(parent.id), request, progress)

    @override
    def checkpoints(self, info: WorkspaceInfo) -> Checkpoints:
        return operations.checkpoint_access.Checkpoints(self._open, info.id)

    @override
    def files(self, info: WorkspaceInfo) -> abc.FileAccess:
        return operations.file_access.files_of(self._open, info)

    @override
    def git(self, info: WorkspaceInfo) -> abc.GitAccess:
        return operations.git_access.LocalGit(self._open, info)

    @override
    async def setting(self, key: str) -> JsonValue:
        return operations.explaining.explained(self._open.stack, key).value

    @override
    async def explain(self, key: str) -> models.explained.SettingExplained:
        return operations.explaining.explained(self._open.stack, key)

    @override
    def terminals(self, info: WorkspaceInfo) -> WorkspaceTerminals:
        return operations.terminals.WorkspaceTerminals(self._open.terminals, info.id)

    # In process only ------------------------------------------------------------------------------------------------

    async def watch_idle(self) -> None:
        """Put workspaces to sleep in which nothing happens, and destroy those past their time; runs until it is cancelled.

        A workspace is paused after ``defaults.idle_timeout`` without work, or stopped where its backend cannot pause; one that
        sleeps is stopped after ``defaults.stop_after``. Running commands, typing, and holds are work; ``info.awake_because`` tells.
        The next command wakes it. One whose time is over is destroyed unless work would be lost. One watch for each repository is
        enough; several do no harm. A backend that fails is tried again.

        A prebuilt image that does not fit any more is made anew meanwhile, while nothing else is being made.

        Cancellation: what was begun for a workspace is left as a cancelled call of that operation leaves it.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(operations.prebuilding.keep_fresh, self._open)
            await operations.watching.IdleWatch(self._open).run()

    async def watch_ports(self, *, every: float = 3.0) -> None:
        """Tell observers where programs begin and cease to listen (``PortOpened``, ``PortClosed``); runs until it is cancelled.

        Args:
            every: Seconds between two looks.
        """
        await operations.listening.watch_ports(self._open, every=every)

    @override
    def events(self) -> AbstractAsyncContextManager[AsyncIterator[WorkspaceEvent]]:
        """Subscribe: ``async with nx.events() as events: async for event in events: …``.

        A subscriber that falls a thousand events behind is cut off, so that it knows.
        """
        return self._open.bus.subscribe()

    def observe(self, observer: Callable[[WorkspaceEvent], None]) -> Callable[[], None]:
        """Call ``observer`` with every event; the returned function ends that. One that raises is logged and dropped."""
        return self._open.bus.observe(observer)

    @override
    async def probe(self) -> tuple[ProviderInfo, ...]:
        """Return what each backend on this machine is and can do."""
        return await operations.doctor.probe_all(self._open)

    async def features(self) -> Features:
        """Return what can be done here and now, as far as that is known without asking a backend."""
        return await anyio.to_thread.run_sync(operations.featuring.features_of, self._open)

    @override
    async def doctor(self, *, fix: bool = False) -> tuple[Finding, ...]:
        """Look for everything that is wrong with this repository's workspaces and this node.

        Args:
            fix: Settle, rebuild and remove what can be, without losing work.
        """
        return await operations.doctor.examine(self._open, fix=fix)

    @asynccontextmanager
    async def _locked(self, name: str, doing: str) -> AsyncGenerator[WorkspaceRecord, None]:
        """Hold a workspace and give its record as it is under the lock; what a crash left of it is settled first."""
        context = self._open
        known = await context.records.load(name)
        async with operations.recovery.holding(context, known.name, purpose=f"{doing} workspace {known.name}"):
            yield await context.records.load(known.name)

    async def _after(self, record: WorkspaceRecord) -> WorkspaceInfo:
        return await operations.observing.look(self._open, record)
