"""What stands in a repository for a file that Git LFS keeps. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

PROGRAM: Final = "the filter 'lfs'"
"""What :mod:`nexus.git.eol` calls the program that git would run."""
MAX_POINTER: Final = 1024
_POINTER: Final = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n"
)


class Pointer(NamedTuple):
    """What stands in a repository for a large file."""

    oid: str
    """SHA-256 of the content."""
    size: int


def parse_pointer(content: bytes) -> Pointer | None:
    """Return what a pointer file says; ``None`` when it is none."""
    match = _POINTER.fullmatch(content) if len(content) <= MAX_POINTER else None
    return None if match is None else Pointer(match[1].decode(), int(match[2]))


def points_at(pointer: bytes | None, content: bytes) -> bool | None:
    """Return whether content is what a pointer stands for; ``None`` when there is no pointer to go by."""
    found = parse_pointer(pointer or b"")
    if found is None:
        return None
    return found == (hashlib.sha256(content).hexdigest(), len(content))
