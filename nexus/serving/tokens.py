"""The tokens of this user's daemons, and a daemon that takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from nexus.abc import Clock
from nexus.abc.service import WorkspaceService
from nexus.config import ConfigStack
from nexus.daemon.daemon import Daemon
from nexus.daemon.keys import KeyFile
from nexus.daemon.places import state_folder
from nexus.daemon.revocation import RevocationFile
from nexus.daemon.tokens import Tokens
from nexus.git import find_repository
from nexus.serving.composing import environment, folder_of, load
from nexus.state.clock import SystemClock


async def daemon_tokens(
    path: str | os.PathLike[str] = ".", *, env: Mapping[str, str] | None = None, clock: Clock | None = None
) -> Tokens:
    """Return what issues, revokes and rotates the tokens of this user's daemons. Whether one runs does not matter.

    Args:
        path: Any folder in a repository, whose configuration says where the node's state is.
        env: As for :func:`nexus.find_daemon`.
        clock: The time that tokens are judged by.

    Raises:
        NotARepository, ConfigError: When that cannot be known.
    """
    repository = await find_repository(folder_of(path))
    stack = await load(repository.root, None, environment(env))
    return tokens_of(stack, clock or SystemClock())


def daemon_of(nx: WorkspaceService, stack: ConfigStack, clock: Clock, on_shutdown: Callable[[], None]) -> Daemon:
    """Return what serves a manager to those who have a token of this user's. It listens nowhere by itself.

    Args:
        nx: The manager, open.
        stack: Says where the node's state is.
        clock: The time that tokens are judged by.
        on_shutdown: Called when a client tells it to stop.
    """
    folder = state_folder(stack.settings.state_dir)
    return Daemon(
        nx,
        host=None,
        keys=KeyFile(folder, clock),
        revocations=RevocationFile(folder, clock),
        clock=clock,
        on_shutdown=on_shutdown,
    )


def tokens_of(stack: ConfigStack, clock: Clock) -> Tokens:
    """Return what issues and verifies the tokens of this user's daemons.

    Args:
        stack: Says where the node's state is.
        clock: The time that tokens are judged by.
    """
    folder = state_folder(stack.settings.state_dir)
    return Tokens(KeyFile(folder, clock), RevocationFile(folder, clock), clock)
