"""Runs every host operation on one worktree and prints what became of each. A program of its own, so that a hang can be ended."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from nexus.errors import NexusError
from nexus.git import Worktrees, examine, find_repository
from tests.git.oracle import REASON


def say(text: str) -> None:
    """Say it at once: what comes next may never end."""
    sys.stdout.write(text)
    sys.stdout.flush()


async def main(root: Path, name: str) -> None:
    repository = await find_repository(root)
    worktrees = Worktrees(repository)
    operations: dict[str, Callable[[], Awaitable[object]]] = {
        "list": worktrees.list,
        "get": lambda: worktrees.get(name),
        "report": lambda: worktrees.report(name),
        "doctor": lambda: examine(repository),
        "resolve": lambda: worktrees.resolve("HEAD"),
        "resolve short": lambda: worktrees.resolve("abcd"),
        "rescues": worktrees.rescues,
        "sync": lambda: worktrees.sync(name),
        "bring back": lambda: worktrees.bring_back(name),
        "rescue": lambda: worktrees.rescue(name),
        "create": lambda: worktrees.create("another", reason=REASON),
        "remove": lambda: worktrees.remove(name, expected_tip=None, delete_branch=False),
    }
    for title, operation in operations.items():
        say(f"{title}: ")
        try:
            result = await operation()
        except NexusError as error:
            say(f"refused {type(error).__name__} {str(error).splitlines()[0]}\n")
        else:
            unknown = getattr(result, "unknown", None)
            say(f"not known: {unknown}\n" if unknown else "done\n")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
