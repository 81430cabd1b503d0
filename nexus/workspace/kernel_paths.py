"""Two calls of the kernel that Python has no name for: ``openat2(2)`` and ``renameat2(2)``."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
from typing import Final

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_OPENAT2: Final = (
    437  # the same number on every architecture that Linux has added since 5.6, and on those before but alpha
)
_RENAMEAT2: Final = {
    "x86_64": 316,
    "aarch64": 276,
    "riscv64": 276,
    "ppc64le": 357,
    "s390x": 347,
    "armv7l": 382,
    "i686": 353,
}
_RENAME_NOREPLACE: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SYSCALL: Final = ctypes.CDLL(None, use_errno=True)["syscall"]
# Told once what it is given, so that no call has to say it again: this one is made for every file.
_SYSCALL.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_SYSCALL.restype = ctypes.c_long
_HOW: Final = struct.Struct("=QQQ")
"""``struct open_how``: flags, mode, resolve."""


def openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    """Open ``path`` below a folder's descriptor; the kernel itself keeps the rules of ``resolve`` on every component.

    Raises:
        OSError: ``ENOSYS`` where the kernel does not have the call, ``EXDEV`` when the path leaves the folder.
    """
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    while True:
        descriptor: int = _SYSCALL(_OPENAT2, directory, path, how, _HOW.size)
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), os.fsdecode(path))


def rename_without_replacing(source: int, old: bytes, target: int, new: bytes) -> None:
    """Rename from one folder's descriptor to another's; a ``new`` that exists is never replaced, not even in a race.

    Raises:
        FileExistsError: When ``new`` exists.
    """
    try:
        _renameat2(source, old, target, new)
    except OSError as error:
        # EINVAL: the file system cannot do it, or a folder would go into itself; the plain calls below tell which.
        if error.errno not in {errno.ENOSYS, errno.EINVAL, errno.EPERM}:
            raise
        _rename_in_two_steps(source, old, target, new)


def _renameat2(source: int, old: bytes, target: int, new: bytes) -> None:
    number = _RENAMEAT2.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    result: int = _LIBC.syscall(
        ctypes.c_long(number),
        ctypes.c_long(source),
        ctypes.c_char_p(old),
        ctypes.c_long(target),
        ctypes.c_char_p(new),
        ctypes.c_long(_RENAME_NOREPLACE),
    )
    if result != 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure), os.fsdecode(old))


def _rename_in_two_steps(source: int, old: bytes, target: int, new: bytes) -> None:
    """Claim the new name by a call that fails when it is taken, then move."""
    if stat.S_ISDIR(os.stat(old, dir_fd=source, follow_symlinks=False).st_mode):
        os.mkdir(new, dir_fd=target)
        try:
            os.rename(
                old, new, src_dir_fd=source, dst_dir_fd=target
            )  # onto our own empty folder, which a rename may replace
        except OSError:
            os.rmdir(new, dir_fd=target)
            raise
    else:
        os.link(old, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        os.unlink(old, dir_fd=source)
