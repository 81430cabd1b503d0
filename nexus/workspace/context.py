"""Everything the operations on workspaces share: one repository's git, state, ports and providers, opened once."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio

from nexus import abc, git, ports, secrets, state
from nexus.config import ConfigStack, Settings
from nexus.errors import ConfigError, NexusError, RecordDamaged, StateError, WorkspaceNotFound
from nexus.models.activity import RunningCommand
from nexus.models.events import Progress
from nexus.models.ids import ExecId, NodeId, WorkspaceId
from nexus.models.instances import Capability, InstanceRef, InstanceSpec, InstanceState, InstanceStatus, ProviderInfo
from nexus.models.trust import Approve
from nexus.models.workspace import DamagedRecord, Repository, WorkspaceRecord
from nexus.providers.registry import ProviderRegistry
from nexus.state.clock import SystemClock
from nexus.telemetry import EventBus
from nexus.workspace.records import provider_options, reference, specification
from nexus.workspace.ssh_grant import ssh_mounts
from nexus.workspace.trash import TrashCollector
from nexus.workspace.withholding import withheld

if TYPE_CHECKING:
    from nexus.secrets import AskPassphrase, SecretResolver
    from nexus.terminals.hub import TerminalHub

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""What a workspace's id looks like."""

_log = logging.getLogger(__name__)

_FIXED = ("state_dir", "workspace_root", "multi_user", "private_folders")
"""Settings that are decided when a repository is opened."""

LOCK_TIMEOUT = 60.0
"""Seconds that a caller waits for another one's work on the same workspace or repository."""


class Glance(NamedTuple):
    """A workspace and the one that is current, read together."""

    record: WorkspaceRecord
    current: str | None
    other: WorkspaceRecord | None = None
    """The current one, where it is another; ``None`` too where it was destroyed or is damaged."""


@dataclass(kw_only=True)
class Context:
    """The parts that an open manager works with. Made by the manager; closed with it.

    A part is made, and what it is made of loaded, when it is first asked for: a list of workspaces needs few of them.
    """

    repository: Repository
    stack: ConfigStack
    registry: state.NodeRegistry
    providers: ProviderRegistry
    ask_passphrase: AskPassphrase | None = None
    bus: EventBus = field(default_factory=EventBus)
    approve: Approve | None = None
    """Asked for what is not approved yet."""
    known_node: NodeId | None = None
    """This node's id, once the registry has said it."""
    registry_problem: NexusError | None = None
    """Why the registry could not be used when it was asked last. What does not need it goes on without."""
    clock: abc.Clock = field(default_factory=SystemClock)
    make_terminals: Callable[[Context], TerminalHub]
    """Makes what serves the terminals. It comes from whoever puts the parts together: it needs what is built on top of these."""

    def __post_init__(self) -> None:
        self.home: Path = self.repository.root / ".nexus"
        self.settings: Settings = self.stack.settings
        self.store = state.FileStateStore(self.home)
        self.journal = state.Journal(self.home)
        self.trash = TrashCollector(self.repository)
        self._open: dict[str, abc.Provider] = {}
        self._names: dict[str, str] = {}
        self._capabilities: dict[str, frozenset[Capability]] = {}
        self._ours: dict[str, tuple[Path, str]] = {}
        self._instances: dict[WorkspaceId, tuple[str | None, abc.Instance]] = {}
        self._attended: dict[WorkspaceId, dict[ExecId, RunningCommand]] = {}
        # One for each: whoever needs one backend does not wait for the driver of another, or for its silence.
        self._opening: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._closing = AsyncExitStack()

    def adopt(self, stack: ConfigStack) -> None:
        """Go by another configuration from now on. What is under way ends by the one it began with.

        Raises:
            ConfigError: When something is different that is decided on opening; nothing is adopted then.
        """
        new = stack.settings
        fixed = [name for name in _FIXED if getattr(new, name) != getattr(self.settings, name)]
        fixed += [
            f"backends.{name}"
            for name in sorted(self._open)
            if provider_options(new, name) != provider_options(self.settings, name)
        ]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)} changed, which takes a restart", hint="stop the program, start it again"
            )
        self.stack, self.settings = stack, new
        for made in ("worktrees", "trees", "allocator"):  # made again from these when they are asked for
            vars(self).pop(made, None)

    # Parts ----------------------------------------------------------------------------------------------------------

    @cached_property
    def secrets(self) -> SecretResolver:
        """Finds the values of secrets."""
        environment = self.stack.environment
        store = secrets.SecretStore(environment=environment, ask=self.ask_passphrase)
        return secrets.SecretResolver(environment, store)

    @cached_property
    def destroyed(self) -> state.DestroyedStore:
        """What was destroyed and can be restored."""
        return state.DestroyedStore(self.home)

    @cached_property
    def checkpoints(self) -> state.CheckpointStore:
        """What is known of checkpoints."""
        return state.CheckpointStore(self.home)

    @cached_property
    def holds(self) -> state.HoldStore:
        """What workspaces are held awake for."""
        return state.HoldStore(self.home)

    @cached_property
    def approvals(self) -> state.ApprovalStore:
        """What the user has approved."""
        return state.ApprovalStore(self.settings.state_dir)

    @cached_property
    def hook_logs(self) -> state.HookLogs:
        """What scripts printed."""
        return state.HookLogs(self.home)

    @cached_property
    def worktrees(self) -> git.Worktrees:
        """The worktrees of the repository."""
        return git.Worktrees(self.repository, precious=self.settings.precious)

    @cached_property
    def trees(self) -> git.TreeCheckpoints:
        """The trees of checkpoints."""
        return git.TreeCheckpoints(self.repository, precious=self.settings.precious)

    @cached_property
    def allocator(self) -> ports.PortAllocator:
        """Leases host ports."""
        return ports.PortAllocator(self.registry, port_range=self.settings.port_range)

    @cached_property
    def terminals(self) -> TerminalHub:
        """Serves the terminals."""
        return self.make_terminals(self)

    @property
    def node(self) -> NodeId:
        """This node's id.

        Raises:
            StateError: When the registry, which keeps it, cannot be used.
        """
        if self.known_node is None:
            raise self.registry_problem or StateError("the node's registry has not been asked for this node's id yet")
        return self.known_node

    async def end_terminals(self) -> None:
        """Serve no terminal any more, where one was; see :meth:`TerminalHub.aclose`."""
        if "terminals" in vars(self):
            await self.terminals.aclose()

    async def aclose(self) -> None:
        """Close what was opened. Workspaces go on running."""
        await self.trash.aclose()
        self._open.clear()
        self._instances.clear()
        await self._closing.aclose()
        await self.registry.aclose()

    # Providers ------------------------------------------------------------------------------------------------------

    async def provider(self, name: str) -> abc.Provider:
        """Return the provider of a backend, opened on first use.

        Raises:
            ProviderNotFound: When none is registered under this name or its driver is not installed.
        """
        async with self._opening[name]:
            if name not in self._open:
                # In a thread: importing a driver takes long enough to be felt by everything else on the loop.
                options = provider_options(self.settings, name)
                provider = await anyio.to_thread.run_sync(self.providers.load, name, options)
                self._open[name] = await self._closing.enter_async_context(provider)
            return self._open[name]

    async def probe(self, backend: str) -> ProviderInfo:
        """Return what a backend is and can do now; what it can do is remembered.

        Raises:
            ProviderNotFound: When none is registered under this name or its driver is not installed.
        """
        info = await (await self.provider(backend)).probe()
        if info.available:
            self._capabilities[backend] = info.capabilities
        return info

    async def learn(self, backend: str) -> None:
        """Have it remembered what a backend can do, if it answers."""
        if backend not in self._capabilities:
            with suppress(NexusError):
                await self.probe(backend)

    def known_capabilities(self, backend: str) -> frozenset[Capability] | None:
        """Return what a backend has said that it can do; ``None`` when it has not been asked, or has not answered."""
        return self._capabilities.get(backend)

    def has_tree_here(self, backend: str) -> bool:
        """Return whether a backend's work trees are on this host; so they are as long as nothing else is known."""
        return Capability.HOST_TREE in self._capabilities.get(backend, {Capability.HOST_TREE})

    def stop_grace(self, backend: str) -> float:
        """Return the seconds between TERM and KILL that the configuration gives this backend's workspaces."""
        grace = self.settings.backends.get(backend, {}).get("stop_grace")
        return float(grace) if isinstance(grace, int | float) else 10.0

    async def instance(self, record: WorkspaceRecord) -> abc.Instance:
        """Return a record's instance; nothing is started and nobody is asked.

        It is kept: an instance remembers what it has learned of its place, so the next command need not ask again.
        """
        known = self.known_instance(record)
        if known is not None:
            return known
        provider = await self.provider(record.backend)
        instance = await provider.attach(reference(record))
        self._instances[record.id] = (record.container_id, instance)
        return instance

    def known_instance(self, record: WorkspaceRecord) -> abc.Instance | None:
        """Return a record's instance where it is at hand already."""
        known = self._instances.get(record.id)
        return known[1] if known is not None and known[0] == record.container_id else None

    def remember(self, record: WorkspaceRecord) -> None:
        """Remember the name of a workspace that was just made: whoever asks for it by its id need not read every record."""
        self._names[record.id] = record.name

    def forget(self, record: WorkspaceRecord) -> None:
        """Let go of what is kept of a workspace that is destroyed."""
        self._instances.pop(record.id, None)
        self._names.pop(record.id, None)
        self._ours.pop(record.name, None)
        self._attended.pop(record.id, None)

    async def seen(self, record: WorkspaceRecord) -> InstanceStatus:
        """Return what the provider sees of a record's instance; ``UNKNOWN`` where it cannot be asked."""
        try:
            instance = await self.instance(record)
            return await instance.status()
        except NexusError as error:
            return InstanceStatus(ref=InstanceRef(id=record.id), state=InstanceState.UNKNOWN, detail=error.message)

    def specification(self, record: WorkspaceRecord) -> InstanceSpec:
        """Return what to ask the provider for."""
        tree = git.Worktree(
            name=record.name,
            path=record.worktree_path,
            branch=record.branch,
            admin_dir=self.worktrees.admin_dir(record.name),
            protected=git.protected(self.repository),
            isolation=record.isolation,
        )
        mounts = (*git.container_mounts(self.repository, tree), *ssh_mounts(record))
        hidden = withheld(self.repository, self.settings) if record.config.get("dockerfile") else ()
        return specification(record, self.node, mounts).model_copy(update={"withheld": hidden})

    # Locks ----------------------------------------------------------------------------------------------------------

    def workspace_lock(
        self, name: str, purpose: str, *, timeout: float = LOCK_TIMEOUT
    ) -> AbstractAsyncContextManager[Callable[[], None]]:
        """Hold one workspace against every other process and task; see :meth:`workspace_locks`."""
        return self.workspace_locks([name], purpose, timeout=timeout)

    @asynccontextmanager
    async def workspace_locks(
        self,
        names: Iterable[str] | Callable[[], Iterable[str]],
        purpose: str,
        *,
        timeout: float = LOCK_TIMEOUT,
        first: Callable[[], object] | None = None,
        last: Callable[[], object] | None = None,
    ) -> AsyncGenerator[Callable[[], None], None]:
        """Hold workspaces against every other process and task. Gives what lets go of them early, as :func:`nexus.state.lock` does.

        Always in the same order, so that two who want the same ones cannot wait for each other. What finds out their names, and what
        is to be done ``first`` and ``last`` under them, is short, blocks, and is done on the visits to a thread that take and free them.

        Raises:
            Busy: When somebody else holds one for longer than ``timeout`` seconds; the error names who.
        """
        folder = self.home / "state" / "locks" / "workspaces"

        def which() -> list[Path]:
            return [folder / f"{name}.lock" for name in sorted(set(names() if callable(names) else names))]

        async with state.lock(which=which, purpose=purpose, timeout=timeout, first=first, last=last) as let_go:
            yield let_go

    @asynccontextmanager
    async def repository_lock(self, purpose: str) -> AsyncGenerator[None, None]:
        """Hold the repository's list of worktrees and our branches. Taken after a workspace's lock, never before.

        Raises:
            Busy: When somebody has it for longer than a minute. A queue that moves is waited in as long as it takes.
        """
        path = self.home / "state" / "locks" / "repository.lock"
        async with state.lock(path, purpose=purpose, timeout=LOCK_TIMEOUT, per_holder=True):
            yield

    # Records --------------------------------------------------------------------------------------------------------

    async def record(self, name: str) -> WorkspaceRecord:
        """Return a workspace's record, by its name or id.

        Raises:
            WorkspaceNotFound: When there is none.
            RecordDamaged: When its file cannot be understood.
        """
        if not ID.fullmatch(name):
            return self._own(await self.store.load(name))
        # Handles ask by id for every command: the name it had last time is right nearly always, and one file is read, not all.
        known = self._names.get(name)
        if known is not None:
            try:
                record = self._own(await self.store.load(known))
            except WorkspaceNotFound:
                pass
            else:
                if record.id == name:
                    return record
        found, _ = await self.records()
        for record in found:
            self._names[record.id] = record.name
            if record.id == name:
                return record
        raise WorkspaceNotFound(
            f"there is no workspace with the id {name}", hint="'boulder ws list' names those there are"
        )

    def glance(self, name: str) -> Glance:
        """Return a workspace's record and that of the current one. Blocks, once for all of it.

        Raises:
            WorkspaceNotFound, RecordDamaged: As :meth:`record`.
        """
        record, current = self._own(self.store.read(name)), self.store.read_current()
        if current is None or current == name:
            return Glance(record, current)
        try:
            return Glance(record, current, self._own(self.store.read(current)))
        except NexusError:
            return Glance(record, current)

    async def records(self) -> tuple[tuple[WorkspaceRecord, ...], tuple[DamagedRecord, ...]]:
        """Return every record that is ours, and every file that cannot be understood or cannot be ours, by name."""
        found, damaged = await self.store.load_all()
        strange = {record.name: reason for record in found if (reason := self._strange(record))}
        ours = tuple(record for record in found if record.name not in strange)
        foreign = tuple(
            DamagedRecord(name=name, path=self.home / "state" / "workspaces" / f"{name}.json", reason=reason)
            for name, reason in strange.items()
        )
        return ours, tuple(sorted((*damaged, *foreign), key=lambda entry: entry.name))

    def _own(self, record: WorkspaceRecord) -> WorkspaceRecord:
        reason = self._strange(record)
        if reason is not None:
            raise RecordDamaged(
                f"the record of workspace {record.name!r} is not this repository's: {reason}",
                hint="'boulder doctor --fix' sets it aside and rebuilds it from what is really there",
                details={"name": record.name},
            )
        return record

    def _strange(self, record: WorkspaceRecord) -> str | None:
        """Say why a record cannot be one that we wrote here. A clone may bring record files of its own making along."""
        if record.repository.root != self.repository.root or record.repository.common_dir != self.repository.common_dir:
            return f"it belongs to a repository at {record.repository.root}"
        ours = self._ours.get(record.name)
        if ours is None:
            ours = self._ours[record.name] = (
                git.worktree_path(self.repository, record.name),
                git.branch_name(record.name),
            )
        if (record.worktree_path, record.branch) != ours:
            return f"it names another tree or branch: {record.worktree_path}, {record.branch}"
        return None

    def last_active(self, identifier: WorkspaceId) -> datetime | None:
        """Return when a command was last started in a workspace; ``None`` when none ever was."""
        try:
            return datetime.fromtimestamp(self._activity(identifier).stat().st_mtime, UTC)
        except OSError:
            return None

    async def mark_active(self, identifier: WorkspaceId) -> None:
        """Note that it is in use now. A file's time, not the record: no lock, no fsync on the path of a command.

        One that cannot be written is logged: nobody's command fails for it.
        """
        await anyio.to_thread.run_sync(self._mark_active, identifier, self.clock.now().timestamp())

    def noting_active(self, identifier: WorkspaceId) -> Callable[[], None]:
        """Return :meth:`mark_active` as something that blocks, for whoever visits a thread anyway."""
        return partial(self._mark_active, identifier, self.clock.now().timestamp())

    def _mark_active(self, identifier: WorkspaceId, moment: float) -> None:
        try:
            _touch(self._activity(identifier), moment)
        except OSError as error:
            _log.warning("cannot note that workspace %s is in use: %s", identifier, error)

    def attend(self, identifier: WorkspaceId, exec_id: ExecId, command: RunningCommand | None) -> None:
        """Remember a command that this process has started; ``None`` when it has ended."""
        known = self._attended.setdefault(identifier, {})
        if command is not None:
            known[exec_id] = command
        else:
            known.pop(exec_id, None)

    def attended(self, identifier: WorkspaceId) -> tuple[RunningCommand, ...]:
        """Return the commands that this process has started in a workspace and that have not ended."""
        return tuple(self._attended.get(identifier, {}).values())

    def typed(self, identifier: WorkspaceId) -> tuple[tuple[str, datetime], ...]:
        """Return the names of a workspace's terminals that this process serves and somebody has typed in, and when that was last."""
        return self.terminals.typed(identifier) if "terminals" in vars(self) else ()

    def starting(self, identifier: WorkspaceId, *, active: bool) -> AbstractAsyncContextManager[None]:
        """Hold that a command is being started, in whichever process, so that nobody freezes its workspace meanwhile.

        Args:
            identifier: The workspace.
            active: Whether to note first that it is in use now, as :meth:`mark_active` does.
        """
        return state.starting(self._starts(identifier), before=self.noting_active(identifier) if active else None)

    def still(self, identifier: WorkspaceId) -> AbstractAsyncContextManager[None]:
        """Hold that no command is being started.

        Raises:
            Busy: When one has been starting for long.
        """
        return state.still(self._starts(identifier))

    def _starts(self, identifier: WorkspaceId) -> Path:
        return self.home / "state" / "locks" / "starts" / f"{identifier}.lock"

    async def forget_activity(self, identifier: WorkspaceId) -> None:
        """Remove the note."""
        await anyio.Path(self._activity(identifier)).unlink(missing_ok=True)
        await anyio.Path(self._starts(identifier)).unlink(missing_ok=True)

    def _activity(self, identifier: WorkspaceId) -> Path:
        return self.home / "state" / "activity" / identifier

    # Telling --------------------------------------------------------------------------------------------------------

    def reporter(self, record: WorkspaceRecord, progress: abc.ProgressCallback | None) -> abc.ProgressCallback:
        """Return a callback that tells the caller and every subscriber."""

        def report(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
            if progress is not None:
                progress(step, message, done, total)
            self.bus.publish(
                Progress(workspace=record.id, name=record.name, step=step, message=message, done=done, total=total)
            )

        return report


def _touch(path: Path, moment: float) -> None:
    try:
        os.utime(path, (moment, moment), follow_symlinks=False)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.utime(path, (moment, moment), follow_symlinks=False)
