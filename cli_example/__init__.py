"""``boulder``, the command line: an example of a program that uses Nexus through its public names only."""

from __future__ import annotations

import gc
import sys

_HINT = 'pip install "nexus-workspace[cli]"'


def main(arguments: list[str] | None = None) -> int:
    """Run ``boulder``.

    Args:
        arguments: The words after the program's name; this process's own when absent.

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
    return run(sys.argv[1:] if arguments is None else arguments)
