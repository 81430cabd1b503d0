"""Sockets to listen on: bound here, or handed over by systemd."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from nexus.daemon.private_file import own_folder
from nexus.errors import InvalidArgument, PortInUse, StateError
from nexus.state.files import translated

_BACKLOG: Final = 128
_FIRST_HANDED_OVER: Final = 3
"""``SD_LISTEN_FDS_START`` of sd_listen_fds(3)."""


def bind_unix(anchor: Path, folder: str, name: str) -> socket.socket:
    """Return a socket bound to ``anchor/folder/name`` that only this user can open. The caller holds the daemon's lock.

    A socket that a daemon left which was killed is replaced. The folder is walked to by descriptor, so that it is the one that
    was checked, and so that its path may be longer than the 107 bytes that fit into a socket's address.

    Args:
        anchor: The user's runtime folder.
        folder: A folder below it, made when it is missing.
        name: Name of the socket in it.

    Raises:
        StateError: When the folder is somebody else's, open to others or a link, or something that is no socket has the name.
    """
    path = anchor / folder / name
    with own_folder(anchor, folder, create=True) as place, translated("make the socket", path):
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode):
                raise StateError(
                    f"{path} is in the way: it is no socket", hint=f"look what it is, then remove it: rm {path}"
                )
            os.unlink(name, dir_fd=place)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(f"/proc/self/fd/{place}/{name}")
            os.chmod(name, 0o600, dir_fd=place)
            bound.listen(_BACKLOG)
        except BaseException:
            bound.close()
            raise
    return bound


def remove_unix(anchor: Path, folder: str, name: str) -> None:
    """Remove a socket that :func:`bind_unix` made, where it is still there."""
    with suppress(OSError, StateError), own_folder(anchor, folder) as place:
        os.unlink(name, dir_fd=place)


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this machine.

    Args:
        host: An address, or a name that stands for one.
        port: ``0`` for any free one.

    Raises:
        PortInUse: When somebody else listens there.
        InvalidArgument: When the address is none of this machine's, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host not in {"::", ""}))
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _cannot_listen(host, port, error) from error
    return bound


def _cannot_listen(host: str, port: int, error: OSError) -> InvalidArgument | PortInUse:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            f"the daemon cannot listen on {host} port {port}: another program does",
            hint="end that program, or set another 'daemon.port' in the node's file",
            details={"host": host, "port": port},
        )
    return InvalidArgument(
        f"the daemon cannot listen on {host} port {port}: {error.strerror or error}",
        hint="correct 'daemon.host' and 'daemon.port' in the node's file",
        details={"host": host, "port": port},
    )


def handed_over(env: MutableMapping[str, str]) -> tuple[socket.socket, ...]:
    """Return the sockets that systemd listens on for us (``sd_listen_fds(3)``); none when it started nobody or somebody else.

    Args:
        env: This process's environment; the variables are taken out of it, so that no child believes they are meant for it.

    Raises:
        InvalidArgument: When one of them is not a socket that is listened on.
    """
    pid, count = env.pop("LISTEN_PID", ""), env.pop("LISTEN_FDS", "")
    env.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return ()
    found = []
    for descriptor in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            given = socket.socket(fileno=descriptor)
            listening = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise _no_listener(descriptor) from error
        if not listening or given.type != socket.SOCK_STREAM:
            raise _no_listener(descriptor)
        found.append(given)
    return tuple(found)


def _no_listener(descriptor: int) -> InvalidArgument:
    return InvalidArgument(
        f"descriptor {descriptor} that was handed over is no stream socket that is listened on",
        hint="write 'Accept=no' and 'ListenStream=' into the socket unit",
    )
