"""What the operations on one repository's workspaces have in common: its parts, each opened once. Each part is a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nexus import abc, git, ports, secrets, state
from nexus.config import ConfigStack, Settings
from nexus.errors import ConfigError, NexusError, StateError
from nexus.models.ids import NodeId, WorkspaceId
from nexus.models.trust import Approve
from nexus.models.workspace import Repository, WorkspaceRecord
from nexus.providers.registry import ProviderRegistry
from nexus.state.clock import SystemClock
from nexus.telemetry import EventBus
from nexus.workspace.backends import Backends
from nexus.workspace.in_use import InUse
from nexus.workspace.locks import Locks
from nexus.workspace.own_records import OwnRecords
from nexus.workspace.trash import TrashCollector

if TYPE_CHECKING:
    from nexus.secrets import AskPassphrase, SecretResolver
    from nexus.terminals.hub import TerminalHub

_FIXED: Final = ("state_dir", "workspace_root", "multi_user", "private_folders")
"""Settings that are decided when a repository is opened."""


@dataclass(kw_only=True)
class Context:
    """The parts that an open manager works with. Made by the manager; closed with it.

    A part is made, and what it is made of loaded, when it is first asked for: a list of workspaces needs few of them.
    """

    repository: Repository
    stack: ConfigStack
    registry: state.NodeRegistry
    providers: InitVar[ProviderRegistry]
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

    def __post_init__(self, providers: ProviderRegistry) -> None:
        self.home: Path = self.repository.root / ".nexus"
        self.settings: Settings = self.stack.settings
        self.store = state.FileStateStore(self.home)
        self.journal = state.Journal(self.home)
        self.trash = TrashCollector(self.repository)
        self.backends = Backends(providers, self.settings)
        self.records = OwnRecords(self.repository, self.store)
        self.locks = Locks(self.home)
        self.in_use = InUse(self.home, self.clock)

    def adopt(self, stack: ConfigStack) -> None:
        """Go by another configuration from now on. What is under way ends by the one it began with.

        Raises:
            ConfigError: When something is different that is decided on opening; nothing is adopted then.
        """
        new = stack.settings
        fixed = [name for name in _FIXED if getattr(new, name) != getattr(self.settings, name)]
        fixed += [f"backends.{name}" for name in self.backends.differing(new)]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)} changed, which takes a restart", hint="stop the program, start it again"
            )
        self.stack, self.settings = stack, new
        self.backends.adopt(new)
        for made in ("worktrees", "trees", "allocator"):  # made again from these when they are asked for
            vars(self).pop(made, None)

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

    def typed(self, identifier: WorkspaceId) -> tuple[tuple[str, datetime], ...]:
        """Return the names of a workspace's terminals that this process serves and somebody has typed in, and when that was last."""
        return self.terminals.typed(identifier) if "terminals" in vars(self) else ()

    async def end_terminals(self) -> None:
        """Serve no terminal any more, where one was; see :meth:`TerminalHub.aclose`."""
        if "terminals" in vars(self):
            await self.terminals.aclose()

    def forget(self, record: WorkspaceRecord) -> None:
        """Let go of what the parts remember of a workspace that is destroyed."""
        self.backends.forget(record)
        self.records.forget(record)
        self.in_use.forget(record.id)

    async def aclose(self) -> None:
        """Close what was opened. Workspaces go on running."""
        await self.trash.aclose()
        await self.backends.aclose()
        await self.registry.aclose()
