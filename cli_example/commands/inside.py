"""``boulder ws exec``, ``shell`` and ``logs``: what happens inside a workspace."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs, so that help is quick

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Annotated

import typer

from cli_example import options
from cli_example.command import Part
from cli_example.options import Command, Name, NameOrCurrent, Service
from cli_example.session import Cli
from cli_example.words import CommandLine

commands = Part()


@commands.command("exec", kind=CommandLine)
async def execute(
    cli: Cli,
    name: Name,
    argv: Command,
    *,
    cwd: Annotated[str | None, typer.Option("--cwd", metavar="PATH", help="Folder to run in.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", metavar="KEY[=VALUE]", help="Add a variable.")] = None,
    user: Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="User to run as.")] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="DURATION", help="After which it is killed.")
    ] = None,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Run it on a terminal.")] = False,
    wake: Annotated[bool, typer.Option("--wake/--no-wake", help="Wake one that sleeps for want of use.")] = True,
    service: Service = None,
) -> int:
    """Run a command in a workspace. Input, output, signals and status are the command's own."""
    from cli_example.passthrough import has_stdin, passthrough, terminal

    given, limit, pty = options.pairs(env, "--env", inherit=True), options.seconds(timeout), terminal() if tty else None
    async with cli.open() as nx:
        process = nx.commands(name).spawn(
            *argv, cwd=cwd, env=given, user=user, stdin=has_stdin(), pty=pty, timeout=limit, wake=wake, service=service
        )
        return await passthrough(process, cli.signals, on_terminal=tty)


@commands.command("shell")
async def shell(cli: Cli, name: Name) -> int:
    """Work in a workspace with an interactive shell."""
    from cli_example.passthrough import LOGIN, has_stdin, is_interactive, passthrough, terminal

    pty = terminal() if is_interactive() else None
    async with cli.open() as nx:
        process = nx.commands(name).spawn("/bin/sh", "-c", LOGIN, stdin=has_stdin(), pty=pty)
        return await passthrough(process, cli.signals, on_terminal=pty is not None)


@commands.command("logs")
async def logs(
    cli: Cli,
    name: NameOrCurrent = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="LINES", min=0, help="Only the last lines.")
    ] = None,
    service: Service = None,
) -> None:
    """Print the log of a workspace. It is what its main process, or a service, printed, byte for byte."""
    async with cli.open() as nx:
        log = nx.logs(await cli.name(nx, name), service=service, follow=follow, tail=tail)
        async with aclosing(log) as chunks:
            async for chunk in chunks:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
