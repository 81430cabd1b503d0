"""The keeper's socket: who may connect, and how it is put back when somebody has cleared the folder away."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Final

from nexus.providers.local.keeper.loop import Loop
from nexus.socket_address import address

_BACKLOG: Final = 1024
_RETRY: Final = 0.1


class Door:
    """Listens at ``path``, for this user alone.

    The folder's owner and mode were checked by the one who started this keeper; a peer's user is checked again here.
    """

    def __init__(self, loop: Loop, path: str, on_connect: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._path = path
        self._on_connect = on_connect
        self._listener: socket.socket | None = None

    def open(self) -> None:
        """Listen; opened again, at a new socket under the same path, which takes its place at once: nobody finds none meanwhile."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._path.rpartition("/")[0], 0o700)  # noqa: PTH102 - pathlib costs the keeper 5 ms
        listener = self._listening(f"{self._path}.new")
        os.rename(f"{self._path}.new", self._path)  # noqa: PTH104 - see above
        while self._take_in():  # who knocked at the old one
            pass
        self._leave()
        self._listener = listener
        self._watch()

    def close(self) -> None:
        """Take nobody in any more, and take the socket away."""
        self._leave()
        with contextlib.suppress(OSError):  # it is this workspace's alone
            os.unlink(self._path)  # noqa: PTH108 - see above

    def _leave(self) -> None:
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None

    @staticmethod
    def _listening(path: str) -> socket.socket:
        with contextlib.suppress(OSError):  # a killed keeper may have left one
            os.unlink(path)  # noqa: PTH108 - see above
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with address(path) as name:
                listener.bind(name)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener

    def _watch(self) -> None:
        if self._listener is not None:
            self._loop.watch(self._listener.fileno(), select.EPOLLIN, self._accept)

    def _accept(self, _mask: int) -> None:
        self._take_in()

    def _take_in(self) -> bool:
        """Take in who waits first; return whether somebody did."""
        if self._listener is None:
            return False
        try:
            peer, _ = self._listener.accept()
        except BlockingIOError:
            return False
        except OSError:
            # Out of descriptors: whoever waits goes on waiting, and this loop does not spin meanwhile.
            self._loop.forget(self._listener.fileno())
            self._loop.call_later(_RETRY, self._watch)
            return False
        _pid, user, _group = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user == os.getuid():
            self._on_connect(peer)
        else:
            peer.close()
        return True
