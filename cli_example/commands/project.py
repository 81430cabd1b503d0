"""``boulder init``, ``boulder doctor`` and ``boulder version``: the project and the machine."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated

import typer

import nexus
from cli_example.command import command
from cli_example.session import Cli

commands = typer.Typer()


@command(commands, "init")
async def init(cli: Cli) -> None:
    """Write a first .nexus/config.yaml. Nexus's own files are kept out of git status by info/exclude."""
    from nexus.config import write_project_template
    from nexus.git import Worktrees

    async with cli.open() as nx:
        path = write_project_template(nx.repository.root)
        await Worktrees(nx.repository).exclude()
    cli.show({"config": str(path)})
    cli.note("look at that file, then: boulder ws up NAME")


@command(commands, "doctor")
async def doctor(cli: Cli, fix: Annotated[bool, typer.Option("--fix", help="Put right what can be.")] = False) -> int:
    """Look for what is wrong here. Repository, workspaces, backends and machine are examined; status 1 when something is wrong."""
    async with cli.open() as nx:
        findings = await nx.doctor(fix=fix)
    cli.show(findings)
    return int(any(finding.level == "error" and not finding.fixed for finding in findings))


@command(commands, "version")
async def version(cli: Cli) -> None:
    """Print the version."""
    cli.show({"version": nexus.__version__})
