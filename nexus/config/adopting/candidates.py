"""Which file of a project's stands in for one of ours that it does not have. Nothing is read here."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Final, Literal

Kind = Literal["devcontainer", "compose"]

DEVCONTAINERS: Final = (PurePosixPath(".devcontainer/devcontainer.json"), PurePosixPath(".devcontainer.json"))
COMPOSES: Final = tuple(
    map(PurePosixPath, ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"))
)
_FOLDER: Final = ".devcontainer"
_MOST_FOLDERS: Final = 100


def find_adoptable(root: Path, kind: Kind | None = None) -> tuple[Kind, PurePosixPath] | None:
    """Return the file that stands in for a project's own, relative to the project.

    A dev container ranks before a compose file. Of several ``.devcontainer/<name>/devcontainer.json`` none is chosen.

    Args:
        root: The project's root.
        kind: Look for this kind alone.
    """
    if kind != "compose":
        for path in DEVCONTAINERS:
            if os.path.lexists(root / path):
                return "devcontainer", path
        named = _named(root)
        if len(named) == 1:
            return "devcontainer", named[0]
    if kind != "devcontainer":
        for path in COMPOSES:
            if os.path.lexists(root / path):
                return "compose", path
    return None


def _named(root: Path) -> list[PurePosixPath]:
    try:
        with os.scandir(root / _FOLDER) as entries:
            names = sorted(entry.name for entry, _ in zip(entries, range(_MOST_FOLDERS), strict=False))
    except OSError:
        return []
    paths = [PurePosixPath(_FOLDER, name, "devcontainer.json") for name in names]
    return [path for path in paths if os.path.lexists(root / path)]
