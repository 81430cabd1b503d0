"""The composition root: the one module that knows how all the parts fit."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from pydantic import JsonValue

from nexus import __version__
from nexus.abc import Clock
from nexus.abc.transport import Transport
from nexus.client.backoff import Backoff
from nexus.client.line import Line
from nexus.client.service import NexusClient
from nexus.config import ConfigStack
from nexus.errors import NexusError
from nexus.git import find_repository
from nexus.models.discovery import KnownRepository, RepositoryListing
from nexus.models.requests import ListFilter
from nexus.models.trust import Approve
from nexus.models.units import seconds
from nexus.providers.registry import ProviderRegistry
from nexus.secrets import AskPassphrase
from nexus.state import NodeRegistry
from nexus.state.clock import SystemClock
from nexus.workspace.context import Context
from nexus.workspace.discovery import known_repositories
from nexus.workspace.manager import WorkspaceManager
from nexus.workspace.placing import with_grounds
from nexus.workspace.privacy import close_folders
from nexus.workspace.recovery import recover
from nexus.workspace.refilling import refill
from nexus.workspace.terminals import terminal_hub

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
        )
        context.terminals = terminal_hub(context)
        try:
            await close_folders(context)
            await refill(context)
            await recover(context)
            context.trash.wake()
            yield context
        finally:
            await context.terminals.aclose()
            with anyio.CancelScope(shield=True), anyio.move_on_after(10.0):
                await context.aclose()

    return WorkspaceManager(connect)


def connect(
    to: str | os.PathLike[str] | Callable[[], Awaitable[Transport]],
    *,
    token: str | Callable[[], Awaitable[str]] | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 30.0,
    backoff: Backoff | None = None,
) -> NexusClient:
    """Return a client of a daemon: the same service as :func:`open` gives, over a connection. Nothing happens before ``async with``.

    Args:
        to: ``ws://127.0.0.1:8080``, ``wss://…``, the path of the daemon's socket, or what makes a connection, such as a
            daemon's ``dial`` for one in memory.
        token: A token that the daemon has issued, or a coroutine function that gives a fresh one whenever one is needed.
        tls: How a ``wss`` address is verified; by this machine's certificates when absent.
        timeout: Seconds that making a connection may take.
        backoff: When a lost connection is tried to be made again, and for how long; for a minute when absent.

    Returns:
        A client, to be entered.

    Raises:
        DaemonUnavailable, Unauthenticated, TokenExpired, VersionMismatch, ProtocolError: On entering.
    """
    limit = seconds(timeout)

    async def dial(shown: str | None) -> Transport:
        if callable(to):
            return await to()
        from nexus.client.dialer import dial as over_websocket  # noqa: PLC0415 - loads websockets, which few need

        return await over_websocket(to, token=shown, timeout=limit or 30.0, tls=tls)

    return NexusClient(lambda: Line(dial, token, backoff or Backoff(), version=__version__))


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
