"""Finding, starting and ending the daemon of a repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from anyio import to_thread
from pydantic import JsonValue

from nexus.daemon.discovery import Announcement, announced
from nexus.daemon.launch import end, start_background
from nexus.daemon.places import places
from nexus.git import find_repository
from nexus.serving.composing import environment, folder_of, load
from nexus.serving.matching import fingerprint

_SLACK: Final = 10.0
"""Seconds that a daemon may take to end beside those in which requests end."""
_MODULE: Final = "nexus.serving"


async def find_daemon(
    path: str | os.PathLike[str] = ".", *, env: Mapping[str, str] | None = None
) -> Announcement | None:
    """Return what the daemon of a repository says of itself; ``None`` when none runs.

    Args:
        path: Any folder in the repository, or in one of its worktrees.
        env: The environment that ``XDG_RUNTIME_DIR`` comes from; this process's when absent.

    Raises:
        NotARepository: When there is none.
        StateError: When the runtime folder is not this user's own.
    """
    repository = await find_repository(folder_of(path))
    return await to_thread.run_sync(announced, places(repository.root, environment(env)))


async def matching_daemon(
    path: str | os.PathLike[str] = ".",
    *,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
) -> Announcement | None:
    """Return the daemon of a repository where it would do the same as a manager opened here; ``None`` when none does.

    It would when the configuration files, flags and environment of now give the settings that it was started with, and the
    variables that those refer to have the same values.

    Args:
        path: Any folder in the repository, or in one of its worktrees.
        flags: Settings that rank above every file, by dotted key.
        env: The environment; this process's when absent.

    Raises:
        NotARepository, ConfigError: When there is none, or its configuration is wrong.
        StateError: When the runtime folder is not this user's own.
    """
    found = await find_daemon(path, env=env)
    if found is None:
        return None
    seen = environment(env)
    stack = await load(found.workspace_folders[0], flags, seen)
    return found if found.fingerprint == fingerprint(stack, seen) else None


async def start_daemon(
    path: str | os.PathLike[str] = ".",
    *,
    flags: Mapping[str, JsonValue] | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Announcement:
    """Start the daemon of a repository in the background, and return what it says of itself once it can be connected to.

    Args:
        path: Any folder in the repository.
        flags: Settings that rank above every file, by dotted key.
        env: Its environment; this process's when absent.
        timeout: Seconds until it has to be ready.

    Raises:
        Busy: When one runs already; ``details["pid"]`` names its process.
        NotARepository, ConfigError, PortInUse, StateError, DaemonUnavailable: When it cannot start.
        OperationTimeout: When it is not ready in time; it is ended.

    Cancellation: what was started is ended.
    """
    repository = await find_repository(folder_of(path))
    return await start_background(repository.root, module=_MODULE, flags=flags, env=env, timeout=timeout)


async def stop_daemon(
    path: str | os.PathLike[str] = ".", *, env: Mapping[str, str] | None = None, timeout: float | None = None
) -> Announcement | None:
    """Have the daemon of a repository end what is under way and stop. Workspaces run on.

    Args:
        path: Any folder in the repository.
        env: As for :func:`find_daemon`.
        timeout: Seconds that it may take; ``daemon.drain`` and ten more when absent.

    Returns:
        What it said of itself; ``None`` when none ran.

    Raises:
        OperationTimeout: When it still runs then.
        NotARepository, ConfigError, StateError: When it cannot be found.

    Cancellation: it was told all the same.
    """
    found = await find_daemon(path, env=env)
    if found is None:
        return None
    if timeout is None:
        stack = await load(found.workspace_folders[0], None, environment(env))
        timeout = stack.settings.daemon.drain.total_seconds() + _SLACK
    await end(found.process, timeout=timeout)
    return found
