"""The workspaces of a repository in this process: git, configuration, state, backends and the manager over them, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from pydantic import JsonValue

from nexus.abc import Clock
from nexus.config import ConfigStack
from nexus.errors import NexusError
from nexus.git import find_repository
from nexus.models.discovery import KnownRepository, RepositoryListing
from nexus.models.requests import ListFilter
from nexus.models.trust import Approve
from nexus.providers.registry import ProviderRegistry
from nexus.state import NodeRegistry
from nexus.state.clock import SystemClock
from nexus.workspace import operations
from nexus.workspace.context import Context
from nexus.workspace.discovery import known_repositories
from nexus.workspace.manager import WorkspaceManager
from nexus.workspace.placing import with_grounds
from nexus.workspace.privacy import close_folders
from nexus.workspace.recovery import recover
from nexus.workspace.refilling import refill

if TYPE_CHECKING:
    from nexus.secrets import AskPassphrase
    from nexus.terminals.hub import TerminalHub

_AT_ONCE: Final = 4
"""Repositories that are opened at the same time."""


def open(  # noqa: A001 - `nexus.open` reads as what it does, and nobody imports it bare
    path: str | os.PathLike[str] = ".",
    *,
    config: ConfigStack | None = None,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
    providers: ProviderRegistry | None = None,
    approve: Approve | None = None,
    ask_passphrase: AskPassphrase | None = None,
    clock: Clock | None = None,
) -> WorkspaceManager:
    """Return the manager of the repository that ``path`` is in. Nothing is read or connected before ``async with``.

    Entering finds the repository, reads the configuration stack, opens the node's registry, and finishes or undoes what a crash
    left half-made.

    Args:
        path: Any folder in the repository, or in one of its worktrees.
        config: A configuration that was loaded already; read from its five layers when absent.
        flags: Settings that rank above every file, by dotted key: ``{"backend": "local"}``.
        env: The environment that ``NEXUS_*`` settings and referred variables come from; this process's when absent.
        providers: The backends to choose from; those that are installed when absent.
        approve: Asked, once for each content, whether something that the project brings along may act on this host: its scripts
            where the backend does not isolate. A function or a coroutine function; its yes is stored. When absent, what
            was not approved with ``boulder trust`` raises ``NotTrusted``.
        ask_passphrase: Asked, on a worker thread, for the passphrase of the encrypted store of secrets, where it has one and
            ``NEXUS_SECRETS_PASSPHRASE`` is not set.
        clock: The time that idleness, holds and expiry are judged by; the machine's own when absent.

    Returns:
        A manager, to be entered.

    Raises:
        NotARepository, BareRepository, UnbornHead, ConfigError, StateError: On entering.
    """
    start = Path(path).expanduser()
    environment = dict(os.environ if env is None else env)

    @asynccontextmanager
    async def connect() -> AsyncGenerator[Context, None]:
        repository = await find_repository(start)
        stack = await anyio.to_thread.run_sync(_stack, repository.root, config, flags, environment)
        registry = NodeRegistry(stack.settings.state_dir / "workspaces.db")
        context = Context(
            repository=await with_grounds(repository, stack.settings),
            stack=stack,
            registry=registry,
            providers=providers or ProviderRegistry.installed(),
            approve=approve,
            ask_passphrase=ask_passphrase,
            clock=clock or SystemClock(),
            make_terminals=_terminals,
        )
        try:
            await close_folders(context)
            await refill(context)
            await recover(context)
            context.trash.wake()
            yield context
        finally:
            await context.end_terminals()
            with anyio.CancelScope(shield=True), anyio.move_on_after(10.0):
                await context.aclose()

    return WorkspaceManager(connect)


def _terminals(context: Context) -> TerminalHub:
    return operations.terminals.terminal_hub(context)


def _stack(
    root: Path, config: ConfigStack | None, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str]
) -> ConfigStack:
    """Read the configuration, or put the flags on top of the one that was given."""
    if config is None:
        return ConfigStack.load(root, flags=flags, env=env)
    return config.with_flags(flags) if flags else config


async def discover(*, env: Mapping[str, str] | None = None) -> tuple[KnownRepository, ...]:
    """Return this user's repositories: those named under ``workspaces`` in ``~/.nexus/config.yaml``, and those with workspaces.

    Args:
        env: The environment that ``HOME`` and ``NEXUS_*`` settings come from; this process's when absent.

    Returns:
        One entry for each, by path; one that is not there any more says so.

    Raises:
        ConfigError: When the user's or the node's file is wrong.
        StateError: When the node's registry cannot be read.
    """
    environment = dict(os.environ if env is None else env)
    # No project's file has a say in what its user has elsewhere.
    stack = await anyio.to_thread.run_sync(_stack, Path(environment.get("HOME") or "/"), None, None, environment)
    return await known_repositories(stack.settings)


async def list_everywhere(
    where: ListFilter | None = None,
    *,
    env: Mapping[str, str] | None = None,
    providers: ProviderRegistry | None = None,
    timeout: float = 30.0,
) -> tuple[RepositoryListing, ...]:
    """List the workspaces of all of this user's repositories.

    Args:
        where: Which workspaces; all when absent.
        env: As for :func:`discover`.
        providers: As for :func:`open`.
        timeout: Seconds that one repository may take.

    Returns:
        One entry for each repository, by path. One that cannot be opened, or does not answer in time, says why and hides no other.

    Raises:
        ConfigError, StateError: As :func:`discover`.
    """
    known = await discover(env=env)
    listings: dict[Path, RepositoryListing] = {}
    turn = anyio.Semaphore(_AT_ONCE)

    async def look(repository: KnownRepository) -> None:
        async with turn:
            listings[repository.root] = await _listing(repository, where, env, providers, timeout)

    async with anyio.create_task_group() as group:
        for repository in known:
            group.start_soon(look, repository)
    return tuple(listings[repository.root] for repository in known)


async def _listing(
    repository: KnownRepository,
    where: ListFilter | None,
    env: Mapping[str, str] | None,
    providers: ProviderRegistry | None,
    timeout: float,
) -> RepositoryListing:
    if repository.problem is not None:
        return RepositoryListing(repository=repository)
    try:
        with anyio.fail_after(timeout):
            async with open(repository.root, env=env, providers=providers) as nx:
                return RepositoryListing(repository=repository, workspaces=await nx.list(where))
    except NexusError as error:
        problem, hint = error.message, error.hint
    except TimeoutError:
        problem, hint = f"it did not answer within {timeout:g} s", None
    return RepositoryListing(repository=repository.model_copy(update={"problem": problem, "hint": hint}))
