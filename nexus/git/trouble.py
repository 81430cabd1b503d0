"""What the operating system refuses git's work becomes one sentence of ours, and no lock of git's stays behind it."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from dulwich.file import _GitFile

from nexus.errors import GitError, NexusError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSINGS: Final = 2


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turn an ``OSError`` that the body lets through into ``GitError``, and give up the lock that was being written then.

    Raises:
        GitError: ``details`` holds ``errno``; the hint says what to do about a full disk.
    """
    try:
        yield
    except NexusError as error:
        for cause in _causes(error):
            _give_up_locks(cause)
        raise
    except OSError as error:
        _give_up_locks(error)
        place = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
        hint = (
            "free some disk space and try again" if error.errno in _FULL else "check that the repository belongs to you"
        )
        raise GitError(
            f"the repository cannot be written or read: {error.strerror or error}{place}",
            hint=hint,
            details={"errno": error.errno},
        ) from error


def _causes(error: BaseException) -> Iterator[OSError]:
    """Give the system's errors that an error was made of further in."""
    seen: BaseException | None = error.__cause__
    while seen is not None:
        if isinstance(seen, OSError) and not isinstance(seen, NexusError):
            yield seen
        seen = seen.__cause__


def _give_up_locks(error: OSError) -> None:
    """Remove the lock files that were open when it happened.

    dulwich's writer of a locked file, when its buffer cannot be flushed, neither closes nor removes it, and nobody but the frames
    of the error knows it any more. Left behind, the lock would keep everybody from writing that file for ever.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in tuple(frame.f_locals.values()):
            if not isinstance(value, _GitFile) or getattr(value, "_closed", True):
                continue
            for _ in range(_CLOSINGS):  # the first one tries to flush once more and fails; then it is closed
                with suppress(OSError):
                    value.abort()
