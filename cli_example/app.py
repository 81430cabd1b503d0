"""The command line put together, and the one place where it is run."""

# ruff: noqa: PLC0415 - the modules of a group are imported when one of its commands is asked for

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Protocol, cast

import typer

import nexus
from cli_example import errors
from cli_example.command import Makers, group
from cli_example.options import Shared, shared
from cli_example.session import report, say

# The class that all mistakes on the command line share is click's, which newer versions of typer carry inside.
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"boulder {nexus.__version__}")
        raise typer.Exit


def _version(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> Shared:
    del version  # its callback has done everything
    return Shared()


class _Program(Protocol):
    """What typer makes of the application."""

    def main(self, args: list[str], prog_name: str, *, standalone_mode: bool) -> object:
        """Run it and return what the command returned."""


def build() -> object:
    """Return the application, as typer's command."""
    purpose = "Development workspaces: a name, a git branch in its own worktree, and a place where it runs."
    return group("", purpose, _all, constructors=(shared, _version), completion=True)


def _all() -> Makers:
    from cli_example.commands import project

    return {
        **project.commands,
        "workspace": partial(_workspaces, "workspace"),
        "ws": partial(_workspaces, "ws"),
        "config": partial(group, "config", "Look at the settings, and ask where they come from.", _config),
        "daemon": partial(group, "daemon", "Serve workspaces to editors and other programs.", _daemon),
        "secrets": partial(group, "secrets", "Keep secrets, encrypted, for workspaces to use.", _secrets),
    }


def _workspaces(name: str) -> object:
    return group(name, "Make, start, switch, look at and destroy workspaces.", _of_workspaces)


def _of_workspaces() -> Makers:
    from cli_example.commands import editor, inside, workspace

    about = "Take, compare, restore and delete the checkpoints of a workspace."
    terminals = "Use terminals that stay when nobody looks at them."
    return {
        **workspace.commands,
        **inside.commands,
        **editor.commands,
        "checkpoint": partial(group, "checkpoint", about, _checkpoints),
        "terminal": partial(group, "terminal", terminals, _terminals),
    }


def _checkpoints() -> Makers:
    from cli_example.commands import checkpoint

    return checkpoint.commands


def _terminals() -> Makers:
    from cli_example.commands import terminal

    return terminal.commands


def _config() -> Makers:
    from cli_example.commands import config

    return config.commands


def _daemon() -> Makers:
    from cli_example.commands import daemon

    return daemon.commands


def _secrets() -> Makers:
    from cli_example.commands import secrets

    return secrets.commands


def run(arguments: list[str]) -> int:
    """Run the command line.

    Args:
        arguments: The words after the program's name.

    Returns:
        The exit status.
    """
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    given = Shared(json="--json" in before, verbose="--verbose" in before)
    try:
        program = cast("_Program", build())
        status = program.main(list(arguments), "boulder", standalone_mode=False)
    except SystemExit as end:  # shell completion ends so
        return end.code if isinstance(end.code, int) else errors.FAILURE
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else None
        return say(errors.usage(error.format_message(), command), given)
    except BaseException as error:  # noqa: BLE001 - no traceback ever reaches the terminal
        return report(error, given)
    return status if isinstance(status, int) else errors.OK
