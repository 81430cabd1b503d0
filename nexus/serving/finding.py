"""Finding the daemon of a repository. What a client of one goes through each time, so little is loaded here."""

from __future__ import annotations

import os
from collections.abc import Mapping

from anyio import to_thread
from pydantic import JsonValue

from nexus.daemon.discovery import Announcement, announced
from nexus.daemon.places import places
from nexus.git import find_repository
from nexus.serving.composing import environment, folder_of, load
from nexus.serving.inputs import digest


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
    root, seen = found.workspace_folders[0], environment(env)
    if found.inputs is not None:
        now = await to_thread.run_sync(digest, root, flags, seen, found.inputs.variables)
        if now == found.inputs.digest:
            return found
    from nexus.serving.matching import fingerprint  # noqa: PLC0415 - loads all that a configuration is read with

    stack = await load(root, flags, seen)
    return found if found.fingerprint == fingerprint(stack, seen) else None
