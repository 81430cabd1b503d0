"""``boulder config``: what the settings are, where they come from, whether they are right."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated

import typer

import nexus
from cli_example import options
from cli_example.command import Part
from cli_example.session import Cli

commands = Part()


@commands.command("show", with_settings=True)
async def show(cli: Cli) -> None:
    """Print the settings in effect, secrets hidden."""
    stack = nexus.ConfigStack.load(cli.shared.project or ".", flags=cli.flags())
    cli.show(stack.to_json())


@commands.command("explain", with_settings=True)
async def explain(
    cli: Cli, key: Annotated[str, typer.Argument(metavar="KEY", help="For example defaults.idle_timeout.")]
) -> None:
    """Say where a setting comes from. Each layer's value is shown with file, line and column, and which one holds."""
    stack = nexus.ConfigStack.load(cli.shared.project or ".", flags=cli.flags())
    cli.show(stack.explain(key))


@commands.command("validate", with_settings=True)
async def validate(
    cli: Cli,
    level: Annotated[
        str | None, typer.Option("--level", metavar="LEVEL", help="Only this file: node, user or project.")
    ] = None,
) -> None:
    """Check every layer. Each file alone, then what they come to; all problems are listed, and what is worth knowing."""
    chosen = None if level is None else options.level(level, "--level")
    found = nexus.ConfigStack.validate(cli.shared.project or ".", level=chosen, flags=cli.flags())
    options.refuse(found)
    cli.show({"valid": True, "warnings": [str(problem) for problem in found]})


@commands.command("schema")
async def schema(
    cli: Cli,
    level: Annotated[str, typer.Argument(metavar="LEVEL", help="node, user or project.")],
    path: Annotated[bool, typer.Option("--path", help="Print where it is installed instead.")] = False,
) -> None:
    """Print the JSON Schema of a file, for editors."""
    from nexus.config import json_schema, schema_file

    chosen = options.level(level, "LEVEL")
    if path:
        return cli.show({"schema": str(schema_file(chosen))} if cli.shared.json else str(schema_file(chosen)))
    return cli.show(json_schema(chosen), always_json=True)
