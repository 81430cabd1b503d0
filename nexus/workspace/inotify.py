"""The kernel's news of folders: ``inotify(7)``, by descriptors, so that no name is resolved and no link followed.

Libraries for this watch by path and follow symbolic links: one in a hostile tree would let them watch, and tell of, all of this host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from enum import IntFlag
from typing import Final, NamedTuple

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_HEADER: Final = struct.Struct("=iIII")
_BUFFER: Final = 64 * 1024


class Mask(IntFlag):
    """Bits of an event, and of what is asked for."""

    MODIFY = 0x002
    ATTRIB = 0x004
    CLOSE_WRITE = 0x008
    MOVED_FROM = 0x040
    MOVED_TO = 0x080
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLYDIR = 0x0100_0000
    MASK_ADD = 0x2000_0000
    ISDIR = 0x4000_0000


IN_FOLDER: Final = (
    Mask.MODIFY
    | Mask.ATTRIB
    | Mask.MOVED_FROM
    | Mask.MOVED_TO
    | Mask.CREATE
    | Mask.DELETE
    | Mask.ONLYDIR
    | Mask.MASK_ADD
)
"""What happens to the names in a folder."""
ITSELF: Final = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR | Mask.MASK_ADD
"""What happens to a folder itself."""


class Event(NamedTuple):
    """One event."""

    watch: int
    """Number of the folder's watch; -1 for an overflow."""
    mask: Mask
    name: bytes
    """The name in the folder; empty for the folder itself."""


class Inotify:
    """A queue of events in the kernel. It holds some thousands; the kernel says when it had to drop some.

    Raises:
        OSError: ``EMFILE`` when this user may have no more queues.
    """

    def __init__(self) -> None:
        self.fd: int = _checked(_LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, folder: int, mask: Mask) -> int:
        """Watch an open folder and return the watch's number; the same folder has the same number.

        Raises:
            OSError: ``ENOSPC`` when this user may watch no more folders.
        """
        # The magic link leads to the very folder that is open, whatever has its name by now.
        return _checked(
            _LIBC.inotify_add_watch(
                ctypes.c_int(self.fd), ctypes.c_char_p(b"/proc/self/fd/%d" % folder), ctypes.c_uint32(mask)
            )
        )

    def drop(self, watch: int) -> None:
        """Watch a folder no longer. One that is gone is fine."""
        _LIBC.inotify_rm_watch(ctypes.c_int(self.fd), ctypes.c_int(watch))

    def read(self) -> list[Event]:
        """Return events that wait; none when there are none. Does not block."""
        try:
            data = os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return []
        return parse(data)

    def close(self) -> None:
        """End all watches."""
        os.close(self.fd)


def parse(data: bytes) -> list[Event]:
    """Return the events in what the kernel gave."""
    events: list[Event] = []
    at = 0
    while at + _HEADER.size <= len(data):
        watch, mask, _cookie, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        events.append(Event(watch, Mask(mask), data[at : at + length].rstrip(b"\0")))
        at += length
    return events


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
    return result
