"""What a prebuilt image depends on, as one digest. Pure.

Nothing secret is part of it: values of secrets and of references never are, and scripts are run without them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import JsonValue

from nexus.config import Settings
from nexus.git import Contents
from nexus.models.hooks import Hook, HookName
from nexus.workspace.records import plain_env

LOCKS: Final = (
    "package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", ".yarnrc.yml", "pnpm-lock.yaml", "pnpm-workspace.yaml",
    "bun.lock", "bun.lockb", ".npmrc", ".nvmrc", ".node-version", "requirements*.txt", "constraints*.txt", "pyproject.toml", "setup.py",
    "setup.cfg", "poetry.lock", "uv.lock", "pdm.lock", "Pipfile", "Pipfile.lock", ".python-version", "go.mod", "go.sum", "go.work",
    "Cargo.toml", "Cargo.lock", "rust-toolchain*", "Gemfile", "Gemfile.lock", ".ruby-version", "composer.json", "composer.lock",
    "mix.exs", "mix.lock", ".tool-versions", "flake.nix", "flake.lock",
)  # fmt: skip
"""Files that say what has to be installed, wherever they are, for projects that do not say what their scripts depend on."""
BEFORE: Final = (HookName.PRE_START, HookName.POST_CREATE)
"""Scripts that a prebuilt image can hold the result of."""

_WORD: Final = re.compile(r"[A-Za-z0-9_@+.,/-]+", re.ASCII)
_VERSION: Final = 1


class Recipe(NamedTuple):
    """What is run, and what its result depends on."""

    scripts: tuple[Hook, ...]
    inputs: Mapping[str, str]
    """Files of the commit, path to content."""
    declared: bool
    tree: str

    @property
    def names(self) -> tuple[str, ...]:
        """The scripts, by name."""
        return tuple(str(hook.name) for hook in self.scripts)


def scripts_of(settings: Settings) -> tuple[Hook, ...]:
    """Return the scripts whose result can be prebuilt. ``post-create`` counts only where no service has to be there before it."""
    chosen = [hook for name in BEFORE if (hook := settings.hook(name)) is not None]
    return tuple(hook for hook in chosen if hook.name is HookName.PRE_START or not settings.services)


def recipe(settings: Settings, contents: Contents) -> Recipe:
    """Return what a prebuilt image of a commit is made from.

    Raises:
        InvalidArgument: When a configured pattern is none.
    """
    scripts = scripts_of(settings)
    declared = settings.prebuild.inputs
    inputs = contents.matching(declared or LOCKS)
    inputs |= {path: contents.files[path] for path in named(scripts, contents.files)}
    return Recipe(scripts, dict(sorted(inputs.items())), bool(declared), contents.tree)


def named(scripts: Collection[Hook], files: Collection[str]) -> list[str]:
    """Return the files of the commit that scripts mention by their path."""
    words = {word.removeprefix("./") for hook in scripts for word in _WORD.findall(hook.run)}
    return sorted(words & set(files))


def key_of(
    made: Recipe, settings: Settings, *, root: Path, image: str, user: str | None, options: Mapping[str, JsonValue]
) -> str:
    """Return the digest.

    Args:
        made: What is run.
        settings: The settings that it is run with.
        root: The repository: what was made for one is not for another.
        image: The id of the image that it starts from; the Dockerfile and what it copies are in that.
        user: The image's user that they are run as.
        options: The backend's options, of which the user inside counts.
    """
    parts: dict[str, JsonValue] = {
        "version": _VERSION,
        "root": str(root),
        "image": image,
        "user": options.get("user"),
        **({"remote_user": user} if user else {}),
        "scripts": {str(hook.name): hook.run for hook in made.scripts},
        "env": dict(sorted(plain_env(settings.env).items())),
        "inputs": dict(made.inputs),
        "volumes": [*sorted(mount.target for mount in settings.volumes)],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:32]
