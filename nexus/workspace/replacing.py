"""Putting a file in the place of another in one step, by descriptors.

A reader sees the old content or the new, never a part. The data is not flushed to the disk: a crash of the whole machine may
lose the last writes, as it does with every editor's. The file is a new one, so other hard links to the old one keep the old content.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from nexus.errors import Busy

_TEMPORARY: Final = re.compile(rb"\.nexus-[0-9a-f]{24}\.tmp")
_TURN: Final = 10.0
_NO_LOCKS: Final = frozenset({errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})


def temporary_name() -> bytes:
    """Return a name that nobody has guessed."""
    return b".nexus-%s.tmp" % secrets.token_hex(12).encode()


def is_temporary(name: bytes) -> bool:
    """Return whether a file is one that is being written, or that a killed program left behind unfinished."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def turn(directory: int) -> Generator[None, None, None]:
    """Hold a folder's lock, so that comparing and replacing is one step among all who do it here, in any process.

    Raises:
        Busy: When somebody else holds it for more than ten seconds.
    """
    fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        deadline = time.monotonic() + _TURN
        while not _locked(fd):
            if time.monotonic() >= deadline:
                raise Busy(
                    "another program holds the lock of the folder that the file is in",
                    hint="end the program that locked it",
                    details={"holder": "unknown"},
                )
            time.sleep(0.002)
        yield
    finally:
        os.close(fd)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def status_of(directory: int, name: bytes) -> os.stat_result | None:
    """Return what a name is, not following it; ``None`` when it is nothing."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


class Draft:
    """A new file that has no name yet which anybody would look for. Owns its descriptor.

    Args:
        directory: Descriptor of the folder it will be in; has to stay open.
        private: Whether nobody else may read it before it has its own permissions.
    """

    def __init__(self, directory: int, *, private: bool) -> None:
        self._directory = directory
        self._name: bytes | None = temporary_name()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(self._name, flags, 0o600 if private else 0o666, dir_fd=directory)

    def publish(self, name: bytes, old: os.stat_result | None, mode: int | None) -> os.stat_result:
        """Give it its name, in one step.

        Args:
            name: The name.
            old: The file that has the name now; it passes on its permissions and its owner.
            mode: Permission bits; those of ``old``, or those it was made with, when absent.

        Returns:
            Its ``stat``.
        """
        if self._name is None:
            raise ValueError("it has a name already")
        if mode is None and old is not None:
            mode = stat.S_IMODE(old.st_mode) & 0o777
        _own(self._directory, self.fd, old)
        if mode is not None:
            os.fchmod(self.fd, mode)
        _advance(self.fd, old)
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._name = None
        return os.fstat(self.fd)

    def close(self) -> None:
        """Let go of it; one without a name is removed."""
        if self._name is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        os.close(self.fd)


def replace(
    directory: int, name: bytes, old: os.stat_result | None, fill: Callable[[int], None], mode: int | None
) -> os.stat_result:
    """Write a new file and give it the name.

    Args:
        directory: The folder's descriptor.
        name: The name in it.
        old: The file that has the name now; it passes on its permissions and its owner.
        fill: Writes the content to a descriptor.
        mode: Permission bits; those of ``old``, or the user's default, when absent.

    Returns:
        The ``stat`` of the new file.
    """
    # Private until it has its own permissions: nobody is to read a secret in between.
    with contextlib.closing(Draft(directory, private=mode is not None or old is not None)) as draft:
        fill(draft.fd)
        return draft.publish(name, old, mode)


def write_all(fd: int, data: bytes) -> None:
    """Write everything."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _own(directory: int, fd: int, old: os.stat_result | None) -> None:
    """Keep the owner; what root makes anew belongs to the folder's owner."""
    own = os.fstat(fd)
    wanted = old if old is not None else os.fstat(directory)
    if (wanted.st_uid, wanted.st_gid) == (own.st_uid, own.st_gid):
        return
    if os.geteuid() == 0:
        os.fchown(fd, wanted.st_uid, wanted.st_gid)
    elif old is not None and wanted.st_gid != own.st_gid:
        with contextlib.suppress(PermissionError):
            os.fchown(fd, -1, wanted.st_gid)


def _advance(fd: int, old: os.stat_result | None) -> None:
    """Let the time of change never stand still.

    The clock of a file system ticks a few hundred times a second, and numbers of files are used again: two contents written within
    one tick could otherwise have one etag.
    """
    now = os.fstat(fd)
    if old is not None and now.st_mtime_ns <= old.st_mtime_ns:
        os.utime(fd, ns=(now.st_atime_ns, old.st_mtime_ns + 1))
