"""Whether a daemon that runs would do the same as a manager that is opened here: whether both have the same settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

import nexus
from nexus.config import ConfigStack, Settings
from nexus.config.redact import reference_name


def fingerprint(stack: ConfigStack, env: Mapping[str, str]) -> str:
    """Return what two processes have in common that have the same settings, and see the same variables that those refer to.

    Two releases have none in common.

    Args:
        stack: The settings, of files, flags and environment.
        env: The environment.
    """
    settings = stack.settings
    seen = {name: env.get(name) for name in sorted(set(_variables(settings)))}
    # Where a daemon listens is its own affair, and sets have another order in every process.
    told = settings.model_dump(mode="json", exclude={"daemon"})
    text = json.dumps([nexus.__version__, told, seen], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _variables(settings: Settings) -> Iterator[str]:
    """Give the variables that the settings refer to."""
    values = (*settings.env.values(), *(value for options in settings.backends.values() for value in options.values()))
    for value in values:
        name = reference_name(value) if isinstance(value, str) else None
        if name is not None:
            yield name
    yield from (secret.key for secret in settings.secrets if secret.source == "env")
