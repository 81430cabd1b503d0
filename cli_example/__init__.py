"""``boulder``, the command line: an example of a program that uses Nexus through its public names only."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import NoReturn

_HINT = 'pip install "nexus-workspace[cli]"'
_UNREAD = 120
"""The status that Python ends with when the last of its output cannot be written."""


def main(arguments: list[str] | None = None) -> int:
    """Run ``boulder``.

    Args:
        arguments: The words after the program's name. When absent they are this process's own, and the process ends here.

    Returns:
        The exit status; :mod:`cli_example.errors` lists what each means.
    """
    # A command makes most of its objects while it imports, and keeps them: looking through them again and again finds nothing.
    gc.set_threshold(200_000)
    try:
        from cli_example.app import run  # noqa: PLC0415 - needs the extra, and its absence is a sentence, not a traceback
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"typer", "click", "rich", "shellingham"}:
            raise
        print(f"error[CLI_NOT_INSTALLED]: the command line needs {error.name}\nhint: {_HINT}", file=sys.stderr)  # noqa: T201
        return 1
    return _leave(run(sys.argv[1:])) if arguments is None else run(arguments)


def _leave(status: int) -> NoReturn:
    """End this process without taking apart what it has loaded, which would take a fifth of a short command's time."""
    for thread in threading.enumerate():  # the interpreter waits for these as well
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except (OSError, ValueError):
        status = status or _UNREAD
    os._exit(status)
