"""The composition root: the one module that knows how all the parts fit."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from pydantic import JsonValue

from nexus.config import ConfigStack
from nexus.git import find_repository
from nexus.models.trust import Approve
from nexus.providers.registry import ProviderRegistry
from nexus.secrets import AskPassphrase
from nexus.state import NodeRegistry
from nexus.workspace.context import Context
from nexus.workspace.manager import WorkspaceManager
from nexus.workspace.privacy import close_folders
from nexus.workspace.recovery import recover
from nexus.workspace.refilling import refill


def open(  # noqa: A001 - `nexus.open` reads as what it does, and nobody imports it bare
    path: str | os.PathLike[str] = ".",
    *,
    config: ConfigStack | None = None,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
    providers: ProviderRegistry | None = None,
    approve: Approve | None = None,
    ask_passphrase: AskPassphrase | None = None,
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
            repository=repository,
            stack=stack,
            registry=registry,
            providers=providers or ProviderRegistry.installed(),
            approve=approve,
            ask_passphrase=ask_passphrase,
        )
        try:
            await close_folders(context)
            await refill(context)
            await recover(context)
            context.trash.wake()
            yield context
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(10.0):
                await context.aclose()

    return WorkspaceManager(connect)


def _stack(
    root: Path, config: ConfigStack | None, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str]
) -> ConfigStack:
    """Read the configuration, or put the flags on top of the one that was given."""
    if config is None:
        return ConfigStack.load(root, flags=flags, env=env)
    return config.with_flags(flags) if flags else config
