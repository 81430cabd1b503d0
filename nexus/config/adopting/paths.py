"""Paths that an adopted file names, taken from the file's own folder and made relative to the project. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

OUTSIDE: Final = "lies outside the project, which a clone cannot ask for"


def inside(base: PurePosixPath, text: str) -> PurePosixPath | None:
    """Return the path relative to the project; ``None`` when it leads out of it. Links are not followed.

    Args:
        base: The folder that it is relative to, itself relative to the project.
        text: The path.
    """
    if not text.strip() or text.startswith(("~", "/")) or "\0" in text:
        return None
    parts: list[str] = []
    for part in (*base.parts, *PurePosixPath(text).parts):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def folder_text(path: PurePosixPath) -> str:
    """Return the path as a volume's source: it begins with ``./``."""
    return "./" if path == PurePosixPath() else f"./{path}"
