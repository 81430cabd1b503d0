"""``boulder ws open``: a workspace's tree in the user's editor."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated

import typer

from cli_example.command import Part
from cli_example.options import NameOrCurrent
from cli_example.session import Cli

commands = Part()


@commands.command("open")
async def open_tree(
    cli: Cli,
    name: NameOrCurrent = None,
    *,
    editor: Annotated[
        str | None, typer.Option("--editor", metavar="EDITOR", help="preferences.default_editor when absent.")
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Only show the command.")] = False,
) -> int:
    """Open a workspace's tree in your editor. Its files are on this machine, wherever its programs run."""
    from cli_example import editing

    async with cli.open_here() as nx:
        ws = await nx.attach(await cli.name(nx, name))
        act = ws.editor_command(editing.chosen(editor, nx.config))
    if only_print:
        cli.show(act if cli.shared.json else editing.shown(act))
        return 0
    return await editing.launch(act)
