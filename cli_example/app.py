"""The command line put together, and the one place where it is run."""

from __future__ import annotations

from typing import Annotated, Final, Protocol, cast

import typer
import typer.main

import nexus
from cli_example import errors
from cli_example.command import group
from cli_example.commands import checkpoint, config, daemon, editor, inside, project, secrets, terminal, workspace
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


def build() -> typer.Typer:
    """Return the application."""
    purpose = "Development workspaces: a name, a git branch in its own worktree, and a place where it runs."
    app = group(purpose, project.commands, constructors=(shared, _version))
    workspaces = group(
        "Make, start, switch, look at and destroy workspaces.", workspace.commands, inside.commands, editor.commands
    )
    workspaces.add_typer(
        group("Take, compare, restore and delete the checkpoints of a workspace.", checkpoint.commands),
        name="checkpoint",
    )
    workspaces.add_typer(
        group("Use terminals that stay when nobody looks at them.", terminal.commands), name="terminal"
    )
    app.add_typer(workspaces, name="workspace")
    app.add_typer(workspaces, name="ws")
    app.add_typer(group("Look at the settings, and ask where they come from.", config.commands), name="config")
    app.add_typer(group("Serve workspaces to editors and other programs.", daemon.commands), name="daemon")
    app.add_typer(group("Keep secrets, encrypted, for workspaces to use.", secrets.commands), name="secrets")
    return app


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
        program = cast("_Program", typer.main.get_command(build()))
        status = program.main(list(arguments), "boulder", standalone_mode=False)
    except SystemExit as end:  # shell completion ends so
        return end.code if isinstance(end.code, int) else errors.FAILURE
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else None
        return say(errors.usage(error.format_message(), command), given)
    except BaseException as error:  # noqa: BLE001 - no traceback ever reaches the terminal
        return report(error, given)
    return status if isinstance(status, int) else errors.OK
