"""The first configuration file of a project: what was found in it, and the rest as comments."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from nexus.config.adopting import Kind, adopt
from nexus.config.adopting.candidates import COMPOSES, DEVCONTAINERS
from nexus.config.adopting.writing import written_config
from nexus.config.detection import Detected, detect
from nexus.config.places import read_scalar
from nexus.config.problems import Problems
from nexus.config.schema import schema_text
from nexus.config.usual_files import FILE
from nexus.errors import AlreadyExists, ConfigError

SCHEMA: Final = Path("cache") / "project.schema.json"
"""The schema for editors, below ``.nexus``; that folder ignores itself."""

_COLUMN: Final = 34


@dataclass(frozen=True, slots=True)
class WrittenTemplate:
    """What was written."""

    config: Path
    """The file."""
    schema: Path
    """The schema that editors check it with."""
    backup: Path | None = None
    """Where the file that was there before is kept."""


def project_template(root: Path, *, adopted: Kind | None = None) -> str:
    """Return a first ``.nexus/config.yaml`` for a project. Nothing is written, and nothing of the project is run.

    Args:
        root: The project's root, whose files say which image and which ports it needs.
        adopted: Say the same as the project's ``devcontainer`` or ``compose`` file, and nothing else.

    Raises:
        ConfigError: When that file is not there, or something in it is wrong.
    """
    if adopted is None:
        return _render(detect(root))
    problems = Problems()
    root = root.resolve()
    found = adopt(root, root, problems, adopted)
    problems.raise_any()
    if found is None:
        looked = {"devcontainer": DEVCONTAINERS, "compose": COMPOSES}[adopted]
        names = ", ".join(map(str, looked))
        raise ConfigError(f"{root} has no {adopted} file", hint=f"looked for: {names}")
    return f"# yaml-language-server: $schema={SCHEMA.as_posix()}\n#\n{written_config(found, root)}"


def write_project_template(root: Path, *, force: bool = False, adopted: Kind | None = None) -> WrittenTemplate:
    """Write ``<root>/.nexus/config.yaml`` as :func:`project_template` has it, and the schema that editors check it with.

    Args:
        root: The project's root.
        force: Replace a file that is there. It is kept beside the new one, as ``config.yaml.bak`` or with the next free number.
        adopted: As for :func:`project_template`.

    Raises:
        AlreadyExists: When there is a file and ``force`` is false.
        ConfigError: When it cannot be written, or a symbolic link stands where a folder should be.
    """
    path = root / FILE
    text = project_template(root, adopted=adopted)
    backup = None
    try:
        _real_folder(path.parent)
        if force and os.path.lexists(path):
            backup = _kept(path)
        _write_new(path, text)
        schema = _write_schema(path.parent)
    except FileExistsError as error:
        raise AlreadyExists(
            f"{path} exists already",
            hint="change that file, or write a new one with --force, which keeps the old one beside it",
            details={"path": str(path)},
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    return WrittenTemplate(path, schema, backup)


def write_project_schema(root: Path) -> Path:
    """Write the schema that editors check ``<root>/.nexus/config.yaml`` with, and return its path.

    It is kept out of git, so a fresh clone does not have it, and another version of Nexus may have left an older one.

    Args:
        root: The project's root.

    Raises:
        ConfigError: When it cannot be written, or a symbolic link stands where a folder should be.
    """
    folder = (root / FILE).parent
    try:
        _real_folder(folder)
        return _write_schema(folder)
    except OSError as error:
        raise ConfigError(f"{folder / SCHEMA} cannot be written: {error.strerror or error}") from error


def _write_schema(folder: Path) -> Path:
    schema = folder / SCHEMA
    _real_folder(schema.parent)
    with contextlib.suppress(FileExistsError):
        _write_new(schema.parent / ".gitignore", "*\n")
    temporary = schema.with_name(f".{schema.name}.{secrets.token_hex(4)}")
    _write_new(temporary, schema_text("project"))
    temporary.replace(schema)
    return schema


def _real_folder(folder: Path) -> None:
    """Make a folder. A clone may bring a link here that leads anywhere."""
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a symbolic link; nothing is written through it", hint="replace it by a folder")
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="move what stands there away")


def _kept(path: Path) -> Path:
    """Give the file another name, never one that is taken."""
    for number in count():
        backup = path.with_name(f"{path.name}.bak{f'.{number}' if number else ''}")
        try:
            os.link(path, backup, follow_symlinks=False)
        except FileExistsError:
            continue
        path.unlink()
        return backup
    raise AssertionError  # counting does not end


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)  # half a file would be in the way of the next attempt
        raise


def _line(text: str, remark: str) -> str:
    return f"{text:<{_COLUMN}}# {remark}" if len(text) < _COLUMN else f"{text}  # {remark}"


def _render(found: Detected) -> str:
    what = ", ".join(found.kinds) or "nothing that says which tools it needs"
    ports = [
        _line(f"  {name}: {number}", "the number inside; the host's is chosen") for name, number in found.ports.items()
    ]
    example = "# ports:\n" + _line("#   web: 3000", "the number inside; the host's is chosen")
    # A name such as `null` is text only in quotes.
    image = found.image if isinstance(read_scalar(found.image), str) else json.dumps(found.image)
    setup = found.setup or "./setup.sh"
    compose = (
        f"# What {found.compose} starts is run only while this file is not there: say here what should run beside a workspace,\n"
        f"# or have it written down with 'boulder init --force --from compose'.\n"
    )
    return f"""\
# yaml-language-server: $schema={SCHEMA.as_posix()}
#
# How this project's workspaces are made. What is left out comes from your own ~/.nexus/config.yaml, then from the
# machine, then from the built-in defaults. This file is meant to be committed; 'boulder init --schema' writes the schema
# that editors check it with. Every key: docs/reference/configuration.md, and 'boulder config explain KEY'.
#
# Found here: {what}.

backend:
{_line("  # type: docker", "docker: isolated; local: plain processes; everybody's own choice when absent")}
  docker:
{_line(f"    image: {image}", found.because)}
{_line("    # dockerfile: ./.nexus/Dockerfile", "built, and used in place of the image")}

# workspace:
{_line("#   name: my-project", "the folder's name when left out")}
#   display_name: "My project"

{chr(10).join(["ports:", *ports]) if ports else example}
{_line("#   database:", "more than the number:")}
#     container: 5432
{_line("#     host: 15432", "a fixed host port")}
{_line("#     visibility: private", "private, public or org")}

# env:
#   APP_ENV: development

{_line("# resources: medium", "small, medium, large, xlarge, or cpu, memory and storage:")}
# resources:
#   cpu: 4
#   memory: 8G
#   storage: 100G

# defaults:
{_line("#   idle_timeout: 1h", "null: never")}
{_line("#   isolation: clone", "worktree: linked worktrees; clone: private clones, for agents you do not trust")}
{_line("#   worktree_include: [.env]", f"ignored files that come along{'; there is a .env here' if found.has_dotenv else ''}")}

{compose if found.compose else ""}# services:
#   redis:
#     image: redis:7-alpine

# scripts:
#   pre-start: |
#     {setup}
"""
