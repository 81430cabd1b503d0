"""Where a Unix socket is, however long its path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_MOST: Final = 107
"""Longest path that fits into ``sun_path``, its final NUL left out."""


@contextmanager
def address(path: str) -> Iterator[str]:
    """Give a name that ``bind`` and ``connect`` take for a socket at ``path``, valid inside the block.

    Raises:
        OSError: When the socket's folder is not there.
    """
    if len(os.fsencode(path)) <= _MOST:
        yield path
        return
    parent, _, name = path.rpartition("/")
    folder = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{name}"
    finally:
        os.close(folder)
