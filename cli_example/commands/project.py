"""``boulder init``, ``boulder doctor`` and ``boulder version``: the project and the machine."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import nexus
from cli_example import options
from cli_example.command import Part
from cli_example.options import TrustedName
from cli_example.session import Cli

commands = Part()


class Adoptable(StrEnum):
    """What a first file can be written from."""

    DEVCONTAINER = "devcontainer"
    COMPOSE = "compose"


@commands.command("init")
async def init(
    cli: Cli,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there; it is kept beside.")] = False,
    only_print: Annotated[bool, typer.Option("--print", help="Print the file and write nothing.")] = False,
    source: Annotated[
        Adoptable | None, typer.Option("--from", help="Write down what the project's own file of this kind says.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Only write the schema that editors check it with.")] = False,
) -> None:
    """Write a first .nexus/config.yaml that fits the project. Nexus's own files are kept out of git status by info/exclude."""
    from nexus.config import project_template, write_project_schema, write_project_template
    from nexus.git import Worktrees, find_repository

    repository = await find_repository(cli.shared.project or Path())
    if only_print:
        return cli.show(project_template(repository.root, adopted=source.value if source else None))
    if schema:
        return cli.show({"schema": str(write_project_schema(repository.root))})
    written = write_project_template(repository.root, force=force, adopted=source.value if source else None)
    await Worktrees(repository).exclude()
    cli.show(options.shown(written))
    cli.note("look at that file, then: boulder ws up NAME")
    return None


@commands.command("doctor")
async def doctor(cli: Cli, fix: Annotated[bool, typer.Option("--fix", help="Put right what can be.")] = False) -> int:
    """Look for what is wrong here. Repository, workspaces, backends and machine are examined; status 1 when something is wrong."""
    async with cli.open_here() as nx:
        findings = await nx.doctor(fix=fix)
    cli.show(findings)
    return int(any(finding.level == "error" and not finding.fixed for finding in findings))


@commands.command("prune")
async def prune(
    cli: Cli,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="DURATION", help="Age; defaults.keep_destroyed when absent."),
    ] = None,
    max_disk: Annotated[
        str | None, typer.Option("--max-disk", metavar="SIZE", help="Remove the oldest only until the rest fits.")
    ] = None,
) -> None:
    """Remove what was kept of destroyed workspaces. Nothing that is younger than the given age goes, whatever its size."""
    age, limit = options.seconds(older_than), options.size(max_disk)
    async with cli.open() as nx:
        cli.show(await nx.prune(dry_run=dry_run, older_than=age, max_disk=limit), empty="nothing was kept")


@commands.command("prebuild")
async def prebuild(
    cli: Cli,
    start: Annotated[
        str, typer.Option("--from", metavar="COMMIT", help="The commit whose files the scripts see.")
    ] = "HEAD",
    force: Annotated[bool, typer.Option("--force", help="Make it anew where it is there.")] = False,
) -> None:
    """Keep what pre-start and post-create come to as an image that new workspaces begin from. Scripts run without secrets."""
    async with cli.open(asks=True) as nx:
        with cli.progress() as progress:
            outcome = await nx.prebuild(start_point=start, force=force, progress=progress)
    cli.show(outcome)


@commands.command("trust")
async def trust(
    cli: Cli,
    name: TrustedName = None,
    *,
    show: Annotated[bool, typer.Option("--show", help="Only show it.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List what you have approved.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take every approval for this project back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without being asked.")] = False,
) -> int:
    """Approve what a project would run on this host. Its scripts are shown exactly; when they change you are asked again."""
    from cli_example import approval, errors

    async with cli.open_here() as nx:
        if listing or revoke:
            cli.show(await (nx.trust.revoke() if revoke else nx.trust.approvals()), empty="nothing is approved")
            return errors.OK
        reviews = await nx.trust.review(name)
        left = [review.item for review in reviews if not review.approved]
        if show or yes or not left or not approval.can_ask():
            cli.show(reviews, empty="there is nothing to approve")
        if left and not show and (yes or await approval.ask(left)):
            await nx.trust.approve(left)
            left = []
    return errors.REFUSED if left and not show else errors.OK


@commands.command("version")
async def version(cli: Cli) -> None:
    """Print the version."""
    cli.show({"version": nexus.__version__})
