"""What finding a daemon and being one have in common: whose environment, whose configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from anyio import to_thread
from pydantic import JsonValue

from nexus import config


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of an environment; of this process's when there is none."""
    return dict(os.environ if env is None else env)


def folder_of(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for a ``~`` at its beginning."""
    return Path(path).expanduser()


async def load(root: Path, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str]) -> config.ConfigStack:
    """Read the configuration on a worker thread.

    Raises:
        ConfigError: When it is wrong.
    """
    return await to_thread.run_sync(partial(config.ConfigStack.load, root, flags=flags, env=env))
