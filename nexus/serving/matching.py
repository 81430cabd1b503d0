"""Whether a daemon that runs would do the same as a manager that is opened here: whether both have the same settings.

The certain way is to read the configuration as the daemon did, and to compare what came out. The quick way is to compare what goes
in; a daemon says what that was only where it has seen that the same came out of it twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from anyio import to_thread
from pydantic import JsonValue

import nexus
from nexus.config import ConfigStack, Settings
from nexus.config.redact import reference_name
from nexus.daemon.discovery import Inputs
from nexus.serving.composing import load
from nexus.serving.inputs import digest


def fingerprint(stack: ConfigStack, env: Mapping[str, str]) -> str:
    """Return what two processes have in common that have the same settings, and see the same variables that those refer to.

    Two releases have none in common.

    Args:
        stack: The settings, of files, flags and environment.
        env: The environment.
    """
    settings = stack.settings
    seen = {name: env.get(name) for name in variables(settings)}
    # Where a daemon listens is its own affair, and sets have another order in every process.
    told = settings.model_dump(mode="json", exclude={"daemon"})
    text = json.dumps([nexus.__version__, told, seen], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def inputs(
    root: Path, stack: ConfigStack, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str]
) -> Inputs | None:
    """Return what a daemon's settings were made from, for clients to compare; ``None`` where that cannot be said for certain.

    Args:
        root: The repository's main checkout.
        stack: The settings that the daemon works with.
        flags: The flags that they were read with.
        env: The environment that they were read with.

    Raises:
        ConfigError: When a file has become wrong since they were read.
    """
    names = variables(stack.settings)
    before = await to_thread.run_sync(digest, root, flags, env, names)
    again = await load(root, flags, env)
    after = await to_thread.run_sync(digest, root, flags, env, names)
    if before is None or before != after or fingerprint(again, env) != fingerprint(stack, env):
        return None  # somebody writes a file just now
    return Inputs(digest=before, variables=names)


def variables(settings: Settings) -> tuple[str, ...]:
    """Return the names of the variables that settings refer to."""
    return tuple(sorted(set(_variables(settings))))


def _variables(settings: Settings) -> Iterator[str]:
    """Give the variables that the settings refer to."""
    values = (*settings.env.values(), *(value for options in settings.backends.values() for value in options.values()))
    for value in values:
        name = reference_name(value) if isinstance(value, str) else None
        if name is not None:
            yield name
    yield from (secret.key for secret in settings.secrets if secret.source == "env")
