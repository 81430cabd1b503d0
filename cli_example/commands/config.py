"""``boulder config``: what the settings are, where they come from, whether they are right."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated

import typer

import nexus
from cli_example.command import command
from cli_example.session import Cli

commands = typer.Typer()


@command(commands, "show", with_settings=True)
async def show(cli: Cli) -> None:
    """Print the settings in effect, secrets hidden."""
    stack = nexus.ConfigStack.load(cli.shared.project or ".", flags=cli.flags())
    cli.show(stack.to_json())


@command(commands, "explain", with_settings=True)
async def explain(
    cli: Cli, key: Annotated[str, typer.Argument(metavar="KEY", help="For example defaults.idle_timeout.")]
) -> None:
    """Say where a setting comes from. Each layer's value is shown with file, line and column, and which one holds."""
    stack = nexus.ConfigStack.load(cli.shared.project or ".", flags=cli.flags())
    cli.show(stack.explain(key))


@command(commands, "validate", with_settings=True)
async def validate(cli: Cli) -> None:
    """Check every layer. All problems are listed, and what is allowed but worth knowing."""
    stack = nexus.ConfigStack.load(cli.shared.project or ".", flags=cli.flags())
    cli.show({"valid": True, "warnings": list(stack.warnings), "files": {k: str(v) for k, v in stack.files.items()}})


@command(commands, "schema")
async def schema(
    cli: Cli, level: Annotated[str, typer.Argument(metavar="LEVEL", help="node, user or project.")]
) -> None:
    """Print the JSON Schema of a file, for editors."""
    from nexus.config import Level, json_schema

    levels: dict[str, Level] = {"node": "node", "user": "user", "project": "project"}
    if level not in levels:
        raise typer.BadParameter(f"{level!r} is none of {', '.join(levels)}", param_hint="LEVEL")
    cli.show(json_schema(levels[level]), always_json=True)
