"""Which editor opens a work tree, and the running of it."""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nexus import ConfigStack
    from nexus.models.editors import EditorCommand


def chosen(given: str | None, config: ConfigStack) -> str:
    """Return the editor that was named on the command line, or the preferred one."""
    editor = given or config.settings.preferences.default_editor
    if editor is None:
        raise typer.BadParameter(
            "no editor is preferred; name one, or set preferences.default_editor", param_hint="--editor"
        )
    return editor


def shown(command: EditorCommand) -> str:
    """Return the command as a line for a shell."""
    return shlex.join(command.argv)


async def launch(command: EditorCommand) -> int:
    """Run the command on this terminal until it ends, and return its status. A window's launcher ends at once.

    Raises:
        ExecStartError: When the editor's program is not there or cannot be executed.
        WorkspaceGone: When the tree is not there.
    """
    import anyio

    from nexus.errors import ExecStartError, WorkspaceGone

    if not await anyio.Path(command.cwd).is_dir():
        raise WorkspaceGone(f"the work tree {command.cwd} is gone", hint="'boulder doctor' says what is left of it")
    try:
        done = await anyio.run_process(command.argv, stdin=None, stdout=None, stderr=None, cwd=command.cwd, check=False)
    except OSError as error:
        program = command.argv[0]
        missing = isinstance(error, FileNotFoundError)
        raise ExecStartError(
            f"the editor {program!r} {'is not there' if missing else f'cannot be started: {error.strerror}'}",
            exit_code=127 if missing else 126,
            hint="install its command, or choose another with --editor or preferences.default_editor",
        ) from error
    return done.returncode
