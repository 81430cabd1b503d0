"""Starting and ending the daemon of a repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from nexus.daemon.discovery import Announcement
from nexus.daemon.launch import end, start_background
from nexus.git import find_repository
from nexus.serving.composing import environment, folder_of, load
from nexus.serving.finding import find_daemon

_SLACK: Final = 10.0
"""Seconds that a daemon may take to end beside those in which requests end."""
_MODULE: Final = "nexus.serving"


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
