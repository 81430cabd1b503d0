"""``boulder ws checkpoint``: taking, comparing, restoring and deleting the checkpoints of a workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from cli_example.command import Part
from cli_example.options import Name
from cli_example.session import Cli

commands = Part()

Mark = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="Its name, its id, or how its id begins.", show_default=False)
]


@commands.command("create")
async def create(
    cli: Cli,
    name: Name,
    mark: Annotated[
        str | None, typer.Argument(metavar="[CHECKPOINT]", help="What to call it.", show_default=False)
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Running processes have to be in it; refused where they cannot be.")
    ] = False,
) -> None:
    """Take a checkpoint. Tree, files, volumes, configuration and ports, while everything stands still."""
    async with cli.open() as nx:
        workspace = await nx.attach(name)
        with cli.progress() as progress:
            made = await workspace.checkpoints.create(mark, processes=processes, progress=progress)
    cli.show(made)
    cli.note(*made.notes)


@commands.command("list")
async def list_all(cli: Cli, name: Name) -> None:
    """List the checkpoints of a workspace, the newest first."""
    async with cli.open() as nx:
        cli.show(await (await nx.attach(name)).checkpoints.list(), empty="no checkpoints")


@commands.command("restore")
async def restore(cli: Cli, name: Name, mark: Mark) -> None:
    """Make a workspace what it was, in place. What it is now is kept in a checkpoint first, so this can be undone."""
    async with cli.open() as nx:
        workspace = await nx.attach(name)
        with cli.progress() as progress:
            done = await workspace.checkpoints.restore(mark, progress=progress)
    cli.show(done)
    cli.note(*done.notes)


@commands.command("delete")
async def delete(cli: Cli, name: Name, mark: Mark) -> None:
    """Delete a checkpoint, with everything that was kept for it."""
    async with cli.open() as nx:
        cli.show(await (await nx.attach(name)).checkpoints.delete(mark))


@commands.command("diff")
async def diff(
    cli: Cli,
    name: Name,
    mark: Mark,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another checkpoint; now when absent.", show_default=False)
    ] = None,
) -> None:
    """List the files of the tree that differ between two checkpoints, or between one and now."""
    async with cli.open() as nx:
        found = await (await nx.attach(name)).checkpoints.diff(mark, other)
    cli.show(found)
    cli.note(*found.notes)
