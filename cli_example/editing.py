"""Which editor opens a work tree, and the running of it."""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from nexus import ConfigStack
    from nexus.models.editors import EditorCommand


_OTHER: Final = "install its command, or choose another with --editor or preferences.default_editor"


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
    program = _found(command.argv[0])
    if program is None:
        raise ExecStartError(f"the editor {command.argv[0]!r} is not there", exit_code=127, hint=_OTHER)
    argv = (program, *command.argv[1:])
    try:
        done = await anyio.run_process(argv, stdin=None, stdout=None, stderr=None, cwd=command.cwd, check=False)
    except OSError as error:
        message = f"the editor {program!r} cannot be started: {error.strerror or error}"
        raise ExecStartError(message, exit_code=126, hint=_OTHER) from error
    return done.returncode


def _found(program: str) -> str | None:
    """Return the program's absolute path. Relative entries of ``PATH`` are passed over: the tree may hold what it likes."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(program, path=os.pathsep.join(folder for folder in folders if Path(folder).is_absolute()))
