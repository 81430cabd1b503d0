"""What the settings of a repository are made from, in one word that is quickly made: no file has to be understood for it.

Two processes for which it is the same have the same settings. Two for which it differs may have the same all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

import nexus
from nexus.config import usual_files
from nexus.config.adopting import find_adoptable

_VARIABLES: Final = ("HOME", "XDG_DATA_HOME")
_PREFIX: Final = "NEXUS_"


def digest(
    root: Path, flags: Mapping[str, JsonValue] | None, env: Mapping[str, str], variables: Iterable[str]
) -> str | None:
    """Return the word; ``None`` where a file for other tools stands in for the project's own, which may name any number of more.

    Blocks for as long as it takes to read three small files.

    Args:
        root: The repository's main checkout.
        flags: Settings that rank above every file.
        env: The environment.
        variables: The variables that the settings refer to.
    """
    files = [*usual_files.NODE_FILES, root / usual_files.FILE]
    home = usual_files.home_folder(env)
    if home is not None:
        files.append(home / usual_files.FILE)
    try:
        if not os.path.lexists(root / usual_files.FILE) and find_adoptable(root) is not None:
            return None
        seen = [_seen(path) for path in files]
        owner = os.stat(root).st_uid  # noqa: PTH116 - beside the others
    except (OSError, ValueError):
        return None
    names = {*variables, *_VARIABLES, *(name for name in env if name.startswith(_PREFIX))}
    told = {name: env.get(name) for name in names}
    text = json.dumps([nexus.__version__, str(root), owner, dict(flags or {}), told, seen], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _seen(path: Path) -> list[str | int]:
    """Return what can make a difference of a file: where it really is, whose it is, and what is in it."""
    real = os.path.realpath(path)
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return [real]
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > usual_files.MAX_BYTES:
            raise ValueError(real)
        return [real, status.st_uid, hashlib.sha256(file.read(usual_files.MAX_BYTES + 1)).hexdigest()]
