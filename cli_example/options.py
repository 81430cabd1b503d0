"""The options that many commands share, and the types of what they take.

:func:`shared` and :func:`settings` are definitions and constructors at once: their parameters are the options of every command
that asks for them (see :mod:`cli_example.command`), their bodies make the value from what was given.
"""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from cli_example.completion import complete_names, complete_statuses

if TYPE_CHECKING:
    from nexus import WorkspaceInfo, WorkspaceStatus
    from nexus.config import Level, Problem, WrittenTemplate


class Shared(NamedTuple):
    """What every command is told, wherever on the line it stood."""

    project: Path | None = None
    backend: str | None = None
    assignments: tuple[str, ...] = ()
    """``KEY=VALUE`` in order; a later one overrides."""
    json: bool = False
    verbose: bool = False
    alone: bool = False
    """Whether no daemon is to be used."""

    def then(self, later: Shared) -> Shared:
        """Return these with what stood further right on the command line on top."""
        return Shared(
            project=later.project or self.project,
            backend=later.backend or self.backend,
            assignments=self.assignments + later.assignments,
            json=later.json or self.json,
            verbose=later.verbose or self.verbose,
            alone=later.alone or self.alone,
        )


def shared(
    project: Annotated[
        Path | None,
        typer.Option("--project", metavar="PATH", help="Any folder of the repository; this one when absent."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="Where workspaces run: docker, local, or another.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, for example defaults.image=python:3.12."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more, and show where errors come from.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--no-daemon", help="Do it in this process, though a daemon runs that could.")
    ] = False,
) -> Shared:
    """Return the options of every command."""
    return Shared(
        project=project,
        backend=backend,
        assignments=tuple(assignments or ()),
        json=as_json,
        verbose=verbose,
        alone=alone,
    )


def settings(
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="The same as --set defaults.image=IMAGE.")
    ] = None,
    resources: Annotated[
        str | None, typer.Option("--resources", metavar="CLASS", help="The same as --set defaults.resources=CLASS.")
    ] = None,
    port: Annotated[
        str | None, typer.Option("--port", metavar="PORT", help="The same as --set ports.web.host=PORT.")
    ] = None,
    isolation: Annotated[
        str | None,
        typer.Option(
            "--isolation", metavar="KIND", help="The same as --set defaults.isolation=KIND: worktree or clone."
        ),
    ] = None,
    *,
    submodules: Annotated[
        bool, typer.Option("--submodules", help="Fill submodules, where the main checkout has their content.")
    ] = False,
    lfs: Annotated[
        bool, typer.Option("--lfs", help="Fill Git LFS files, where the main checkout has their content.")
    ] = False,
    idle_timeout: Annotated[
        str | None,
        typer.Option("--idle-timeout", metavar="DURATION", help="The same as --set defaults.idle_timeout=DURATION."),
    ] = None,
) -> Shared:
    """Return the settings that have an option of their own, for commands that settings matter to."""
    given = {"image": image, "resources": resources, "port": port, "isolation": isolation, "idle_timeout": idle_timeout}
    given |= {name: "true" for name, wanted in (("submodules", submodules), ("lfs", lfs)) if wanted}
    return Shared(assignments=tuple(f"{key}={value}" for key, value in given.items() if value is not None))


NewName: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and '-', at most 48.", show_default=False)
]
Name: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The workspace.", autocompletion=complete_names, show_default=False),
]
NameOrCurrent: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="The workspace; the current one when absent.",
        autocompletion=complete_names,
        show_default=False,
    ),
]
OptionalName: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="The workspace; all when absent.", show_default=False),
]
TrustedName: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="A workspace, for its own settings too; the project alone when absent.",
        autocompletion=complete_names,
        show_default=False,
    ),
]
Command: TypeAlias = Annotated[
    list[str],
    typer.Argument(metavar="[--] COMMAND...", help="The program and its arguments; no shell.", show_default=False),
]
Service: TypeAlias = Annotated[
    str | None, typer.Option("--service", metavar="SERVICE", help="Not the workspace itself but this service of it.")
]
Labels: TypeAlias = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label; may be repeated.")
]
Statuses: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--status", metavar="STATUS", help="Only these statuses; may be repeated.", autocompletion=complete_statuses
    ),
]


def pairs(values: Sequence[str] | None, option: str, *, inherit: bool = False) -> Mapping[str, str]:
    """Return ``KEY=VALUE`` words as a mapping.

    Args:
        values: The words.
        option: The option they were given to, for the message.
        inherit: Whether a bare ``KEY`` takes the value of this process's variable; one that is not set is left out.
    """
    result: dict[str, str] = {}
    for text in values or ():
        key, equals, value = text.partition("=")
        if not key or not (equals or inherit):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint=option)
        if equals or key in os.environ:
            result[key] = value if equals else os.environ[key]
    return result


def seconds(text: str | None) -> float | None:
    """Return a duration such as ``90``, ``30m`` or ``1h30m`` in seconds."""
    from nexus.models.units import parse_duration

    return None if text is None else parse_duration(text).total_seconds()


def size(text: str | None) -> int | None:
    """Return a size such as ``500M`` or ``8G`` in bytes."""
    from nexus.models.units import parse_size

    return None if text is None else parse_size(text)


def level(text: str, option: str) -> Level:
    """Return which of the three files a word means.

    Args:
        text: The word.
        option: What it was given to, for the message.
    """
    levels: dict[str, Level] = {"node": "node", "user": "user", "project": "project"}
    if text not in levels:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(levels)}", param_hint=option)
    return levels[text]


def refuse(problems: Sequence[Problem]) -> None:
    """Raise when an error is among the problems; warnings pass."""
    from nexus.errors import ConfigError

    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ConfigError(str(errors[0]), problems=[str(problem) for problem in errors], hint=errors[0].hint)


def shown(written: WrittenTemplate) -> dict[str, str]:
    """Return the paths of what was written, by what they are."""
    paths = {"config": written.config, "schema": written.schema, "backup": written.backup}
    return {name: str(path) for name, path in paths.items() if path is not None}


def notes(info: WorkspaceInfo) -> list[str]:
    """Return what creation had to say about a workspace's tree, and what is wrong with its scripts."""
    degraded = (
        [f"degraded: {info.degraded}; run them again: boulder ws retry-hooks {info.name}"] if info.degraded else []
    )
    return info.annotations.get("dev.nexus.notes", "").splitlines() + degraded


def statuses(values: Sequence[str] | None) -> frozenset[WorkspaceStatus]:
    """Return statuses by their names."""
    from nexus import WorkspaceStatus

    try:
        return frozenset(WorkspaceStatus(text) for text in values or ())
    except ValueError as error:
        known = ", ".join(WorkspaceStatus)
        raise typer.BadParameter(f"{error}; there are: {known}", param_hint="--status") from error
