"""Deleting a ref so that nobody who packs refs at the same moment brings it back, at this or at an older commit."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dulwich.file import FileLocked, _GitFile
from dulwich.repo import Repo

from nexus.git import beneath
from nexus.git.refs import read_head

_PATIENCE: Final = 1.0
"""Seconds for which a lock on the packed refs is waited for; git's own ``core.packedRefsTimeout``."""
_PAUSE: Final = 0.02
_PACKED_LIMIT: Final = 256 << 20
DRAFT: Final = "nexus-packed-refs"
"""How a draft of the packed refs begins; a killed process can leave one behind."""


def delete_ref(repo: Repo, name: bytes, expected: bytes) -> bool:
    """Delete a ref if it leads where it did, blocking; say whether it is gone.

    The packed refs are locked all the time, in which git packs none, and the ref goes from them first: whatever cuts this short, it leads
    where it did or nowhere.

    Args:
        repo: The repository, opened.
        name: The full name.
        expected: The object that it has to lead to, as 40 hexadecimal digits.

    Raises:
        FileLocked: When somebody else keeps it or the packed refs locked.
        OSError: When a file cannot be written; nothing has changed then.
    """
    common = Path(os.fsdecode(repo.commondir()))
    loose, packed = common / os.fsdecode(name), common / "packed-refs"
    with _locked(packed, _PATIENCE):
        loose.parent.mkdir(parents=True, exist_ok=True)
        with _locked(loose, 0):
            content = beneath.read_regular(packed, limit=_PACKED_LIMIT) or b""
            left, there = _without(content, name)
            if (read_head(loose) or there) != expected:
                return False
            if there is not None:
                _replace(packed, common / f"{DRAFT}.{secrets.token_hex(6)}", left)
            with suppress(FileNotFoundError):
                loose.unlink()
    _drop_empty_folders(common, loose.parent)
    return True


@contextmanager
def _locked(file: Path, patience: float) -> Iterator[None]:
    """Hold git's lock on a file that is not written through it."""
    lock = _lock(file, time.monotonic() + patience)
    try:
        yield
    finally:
        lock.abort()


def _lock(file: Path, deadline: float) -> _GitFile:
    while True:
        try:
            return _GitFile(str(file), "wb", -1, 0o644)
        except FileLocked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)


def _replace(file: Path, draft: Path, content: bytes) -> None:
    """Write a file anew while its lock is held, as git does with this one."""
    try:
        with draft.open("xb") as writing:
            writing.write(content)
            writing.flush()
            os.fsync(writing.fileno())
        draft.replace(file)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _without(content: bytes, name: bytes) -> tuple[bytes, bytes | None]:
    """Return the packed refs without one, and where that led."""
    kept: list[bytes] = []
    there: bytes | None = None
    skipping = False
    for line in content.splitlines(keepends=True):
        skipping = skipping and line.startswith(b"^")  # what a tag leads to, in the line after it
        value, _, rest = line.partition(b" ")
        if rest.rstrip(b"\r\n") == name:
            there, skipping = value, True
        if not skipping:
            kept.append(line)
    return b"".join(kept), there


def _drop_empty_folders(common: Path, folder: Path) -> None:
    """A folder left behind would be in the way of a branch of its name."""
    while folder not in {common / "refs", common / "refs" / "heads"}:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
