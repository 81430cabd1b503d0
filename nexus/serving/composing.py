"""What finding a daemon and being one have in common: whose configuration, which tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from anyio import to_thread
from pydantic import JsonValue

from nexus.abc import Clock
from nexus.abc.service import WorkspaceService
from nexus.config import ConfigStack
from nexus.daemon.daemon import Daemon
from nexus.daemon.keys import KeyFile
from nexus.daemon.places import state_folder
from nexus.daemon.revocation import RevocationFile
from nexus.daemon.tokens import Tokens


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of an environment; of this process's when there is none."""
    return dict(os.environ if env is None else env)


async def load(root: Path, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str]) -> ConfigStack:
    """Read the configuration on a worker thread.

    Raises:
        ConfigError: When it is wrong.
    """
    return await to_thread.run_sync(partial(ConfigStack.load, root, flags=flags, env=env))


def daemon_of(nx: WorkspaceService, stack: ConfigStack, clock: Clock) -> Daemon:
    """Return what serves a manager to those who have a token of this user's. It listens nowhere by itself.

    Args:
        nx: The manager, open.
        stack: Says where the node's state is.
        clock: The time that tokens are judged by.
    """
    folder = state_folder(stack.settings.state_dir)
    return Daemon(nx, host=None, keys=KeyFile(folder, clock), revocations=RevocationFile(folder, clock), clock=clock)


def tokens_of(stack: ConfigStack, clock: Clock) -> Tokens:
    """Return what issues and verifies the tokens of this user's daemons.

    Args:
        stack: Says where the node's state is.
        clock: The time that tokens are judged by.
    """
    folder = state_folder(stack.settings.state_dir)
    return Tokens(KeyFile(folder, clock), RevocationFile(folder, clock), clock)
