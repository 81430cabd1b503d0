"""Completion of names. It runs at every Tab, so it reads a folder instead of opening anything, and never says a word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, cast

import typer

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,47}", re.ASCII)
_RECORDS: Final = Path(".nexus") / "state" / "workspaces"
_STATUSES: Final = ("pending", "stopped", "running", "paused", "error", "destroying", "destroyed")


def complete_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the workspaces of the repository that begin like this; none when anything is in the way."""
    try:
        records = _root(_project(context)) / _RECORDS
        names = [path.stem for path in records.iterdir() if path.suffix == ".json"]
    except (OSError, RuntimeError):
        return []
    # The folder may come from anywhere, and a shell will read what is returned.
    return sorted(name for name in names if _NAME.fullmatch(name) and name.startswith(incomplete))


def complete_statuses(incomplete: str) -> list[str]:
    """Return the statuses that begin like this."""
    return [status for status in _STATUSES if status.startswith(incomplete)]


def _project(context: typer.Context) -> Path:
    levels = [context]
    while levels[-1].parent is not None:
        levels.append(cast("typer.Context", levels[-1].parent))
    given = next((level.params["project"] for level in levels if level.params.get("project")), None)
    return Path(given).expanduser() if given else Path.cwd()


def _root(start: Path) -> Path:
    """Return the main work tree by the shape of the folders alone: a worktree of ours lies in ``<root>/.nexus/worktrees/``."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if folder.name == "worktrees" and folder.parent.name == ".nexus":
            return folder.parent.parent
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)
