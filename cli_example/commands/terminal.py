"""``boulder ws terminal``: terminals that stay when nobody looks at them."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from cli_example import options
from cli_example.command import Part
from cli_example.options import Name, NameOrCurrent
from cli_example.session import Cli
from cli_example.words import CommandLine

commands = Part()

Which: TypeAlias = Annotated[
    str | None,
    typer.Argument(metavar="[TERMINAL]", help="Its id or name; the only one when absent.", show_default=False),
]
Detach: TypeAlias = Annotated[str, typer.Option("--detach-key", metavar="KEY", help="The key that leaves it running.")]
Program: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND...]", help="The program; a shell when absent.", show_default=False),
]


@commands.command("open", kind=CommandLine)
async def open_(
    cli: Cli,
    name: Name,
    argv: Program = None,
    *,
    title: Annotated[str | None, typer.Option("--name", metavar="TEXT", help="What to call the terminal.")] = None,
    cwd: Annotated[str | None, typer.Option("--cwd", metavar="PATH", help="Folder to open it in.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", metavar="KEY[=VALUE]", help="Add a variable.")] = None,
    detach_key: Detach = "ctrl-]",
) -> int:
    """Open a terminal and work in it. Its program stays when you leave it with the detach key, where the backend can keep it."""
    from cli_example.attached import attached, key
    from cli_example.passthrough import terminal

    given, leave = options.pairs(env, "--env", inherit=True), key(detach_key)
    async with cli.open() as nx:
        ws = await nx.attach(name)
        opened = ws.terminals.open(*(argv or ()), size=terminal(), name=title, cwd=cwd, env=given)
        return await attached(cli, name, opened, detach=leave)


@commands.command("list")
async def list_(cli: Cli, name: NameOrCurrent = None) -> None:
    """List a workspace's terminals."""
    async with cli.open() as nx:
        ws = await nx.attach(await cli.name(nx, name))
        cli.show(await ws.terminals.list(), empty="no terminals")


@commands.command("attach")
async def attach(
    cli: Cli,
    name: Name,
    which: Which = None,
    *,
    view: Annotated[bool, typer.Option("--view", help="Only look.")] = False,
    takeover: Annotated[bool, typer.Option("--takeover", help="Take it from whoever types in it.")] = False,
    detach_key: Detach = "ctrl-]",
) -> int:
    """Go back to a terminal, with what it showed lately. One that a stop has ended is opened again."""
    from cli_example.attached import attached, chosen, key
    from cli_example.passthrough import terminal

    leave = key(detach_key)
    async with cli.open() as nx:
        ws = await nx.attach(name)
        info = await chosen(ws.terminals, which)
        there = ws.terminals.attach(
            info.id, role="viewer" if view else "controller", takeover=takeover, size=terminal()
        )
        return await attached(cli, name, there, detach=leave)


@commands.command("kill")
async def kill(cli: Cli, name: Name, which: Which = None) -> None:
    """End a terminal's program and forget the terminal."""
    from cli_example.attached import chosen

    async with cli.open() as nx:
        ws = await nx.attach(name)
        info = await ws.terminals.kill((await chosen(ws.terminals, which)).id)
        cli.show(info)


@commands.command("rename")
async def rename(cli: Cli, name: Name, which: Which, title: Annotated[str, typer.Argument(metavar="TEXT")]) -> None:
    """Call a terminal by another name."""
    from cli_example.attached import chosen

    async with cli.open() as nx:
        ws = await nx.attach(name)
        cli.show(await ws.terminals.rename((await chosen(ws.terminals, which)).id, title))
