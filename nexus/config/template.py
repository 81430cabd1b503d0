"""The first configuration file of a project."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Final

from nexus.config.schema import json_schema
from nexus.config.sources import FILE
from nexus.errors import AlreadyExists, ConfigError

SCHEMA: Final = Path("cache") / "project.schema.json"
"""The schema for editors, below ``.nexus``; that folder ignores itself."""

TEMPLATE: Final = f"""\
# yaml-language-server: $schema={SCHEMA.as_posix()}
#
# How this project's workspaces are made. Everything is optional; what is left out comes from your own
# ~/.nexus/config.yaml, then from the machine, then from the built-in defaults. This file is meant to be committed.

# workspace:
#   name: my-project              # the folder's name when left out
#   display_name: "My project"

# backend:
#   type: docker                  # docker: isolated; local: plain processes on this machine
#   docker:
#     image: python:3.12-slim
#     dockerfile: ./.nexus/Dockerfile   # built, and used in place of the image

# resources: medium               # small, medium, large, xlarge, or:
# resources:
#   cpu: 4
#   memory: 8G
#   storage: 100G

# defaults:
#   idle_timeout: 1h              # null: never
#   isolation: clone              # worktree: linked worktrees; clone: private clones, for agents you do not trust
#   worktree_include: [.env]      # ignored files that come along, besides those that .worktreeinclude names

# ports:
#   web: 3000                     # the number inside; the host's is chosen
#   database:
#     container: 5432
#     host: 15432                 # a fixed one
#     visibility: private         # private, public or org

# env:
#   NODE_ENV: development
"""


def write_project_template(root: Path) -> Path:
    """Write ``<root>/.nexus/config.yaml``, everything in it commented out, and the schema that editors check it with.

    Args:
        root: The project's root.

    Returns:
        The file.

    Raises:
        AlreadyExists: When there is one.
        ConfigError: When it cannot be written, or a symbolic link stands where a folder should be.
    """
    path = root / FILE
    schema = path.parent / SCHEMA
    try:
        for folder in (path.parent, schema.parent):
            # A clone may bring a link here that leads anywhere.
            if folder.is_symlink():
                raise ConfigError(
                    f"{folder} is a symbolic link; nothing is written through it", hint="replace it by a folder"
                )
            folder.mkdir(exist_ok=True)
        _write_new(path, TEMPLATE)
        for aside, text in (
            (schema.parent / ".gitignore", "*\n"),
            (schema, json.dumps(json_schema("project"), indent=2)),
        ):
            with contextlib.suppress(FileExistsError):
                _write_new(aside, text)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{error.filename} exists already",
            hint="change that file; it is never overwritten",
            details={"path": str(path)},
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)  # half a file would be in the way of the next attempt
        raise
