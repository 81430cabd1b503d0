"""Which paths a question or a commit is about."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nexus.errors import InvalidArgument


class Picked(NamedTuple):
    """Files, and folders with everything in them; all paths when there are none."""

    paths: tuple[bytes, ...]

    def takes(self, path: bytes) -> bool:
        """Return whether a path is meant."""
        return not self.paths or any(path == one or path.startswith(one + b"/") for one in self.paths)

    def require_all_in(self, paths: Iterable[bytes]) -> None:
        """Refuse a path that means nothing.

        Args:
            paths: What there is.

        Raises:
            InvalidArgument: When one of the picked paths takes none of them.
        """
        there = list(paths)
        for one in self.paths:
            if not any(path == one or path.startswith(one + b"/") for path in there):
                raise InvalidArgument(
                    f"{os.fsdecode(one)!r} has nothing to commit: git knows no such file, or it is as it was",
                    hint="ws.git.status() lists what has changed",
                )


def listed(paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths as they were given.

    Raises:
        InvalidArgument: When one text was given instead of a list, which would be read letter by letter.
    """
    if isinstance(paths, str):
        raise InvalidArgument("paths takes a list, not one text", hint=f"write [{paths!r}]")
    return tuple(paths)


def parse_paths(paths: Sequence[str]) -> Picked:
    """Return what paths mean, relative to the tree's root.

    Raises:
        InvalidArgument: When one is absolute, goes up, or is empty.
    """
    found: list[bytes] = []
    for path in listed(paths):
        parts = [part for part in os.fsencode(path).split(b"/") if part not in {b"", b"."}]
        if path.startswith("/") or not path or b".." in parts or "\0" in path:
            raise InvalidArgument(f"{path!r} is no path below the tree's root", hint="write it like src/main.py")
        if not parts:
            return Picked(())  # the whole tree
        found.append(b"/".join(parts))
    return Picked(tuple(found))
