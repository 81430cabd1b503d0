"""A small JSON file that only its owner reads, shared by several processes: read again when it changed, replaced in one step.

The folder has to be the user's own and closed to everybody else, and neither it nor the file may be a symbolic link: whoever could
put another file there could make tokens. Everything blocks for as long as a small local file takes.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import ValidationError

from nexus.errors import StateError
from nexus.models.base import Model
from nexus.state.files import FILE_MODE, UnfitFile, open_folder, read_small, translated, write_atomic

_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_OTHERS: Final = 0o077

M = TypeVar("M", bound=Model)


@contextmanager
def own_folder(anchor: Path, *names: str, create: bool = False) -> Iterator[int]:
    """Give a descriptor of a folder that nobody but this user can enter.

    Args:
        anchor: A folder that may be reached through symbolic links.
        names: Folders below it, all of which have to be real ones; the last is examined.
        create: Make what is missing, for the owner only.

    Raises:
        FileNotFoundError: When it is missing and ``create`` is false.
        StateError: When it is a symbolic link, belongs to somebody else, or is open to others.
    """
    root, path = Path(os.path.realpath(anchor)), anchor.joinpath(*names)
    if create:
        with translated("make the folder", anchor):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_folder(root, *names, create=create) as folder:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            raise StateError(
                f"{path} belongs to another user (uid {status.st_uid})",
                hint=f"look who made it, then remove it: rm -r {path}",
                details={"path": str(path)},
            )
        if status.st_mode & _OTHERS:
            raise StateError(
                f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o})",
                hint=f"close it: chmod 700 {path}",
                details={"path": str(path)},
            )
        yield folder


class PrivateFile(Generic[M]):
    """One value in one file.

    Args:
        kind: The class of the value.
        anchor: As for :func:`own_folder`.
        names: As for :func:`own_folder`; the last is the file's.
        limit: The most bytes it may have.
    """

    def __init__(self, kind: type[M], anchor: Path, *names: str, limit: int) -> None:
        self._kind = kind
        self._anchor = anchor
        self._folders, self._name = names[:-1], names[-1]
        self._limit = limit
        self._path = str(anchor.joinpath(*names))
        self._seen: tuple[tuple[int, int, int] | None, M | None] | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._path)

    def read(self) -> M | None:
        """Return what the file holds now, ``None`` when there is none. One ``stat`` when it did not change.

        Raises:
            StateError: When it cannot be trusted or is damaged.
        """
        stamp = self._stamp()
        if self._seen is None or self._seen[0] != stamp:
            self._seen = (stamp, self._load() if stamp is not None else None)
        return self._seen[1]

    def update(self, change: Callable[[M | None], M]) -> M:
        """Replace the value by what ``change`` makes of it, while no other process does the same.

        Returns:
            The new value, which is on the disk.

        Raises:
            StateError: When it cannot be written; the old value is still there. Also what ``change`` raises.
        """
        with (
            translated(f"write {self._name}", self.path),
            own_folder(self._anchor, *self._folders, create=True) as folder,
            _exclusive(folder, f"{self._name}.lock"),
        ):
            old = self._parse(folder)
            new = change(old)
            if new != old:
                write_atomic(folder, self._name, new.model_dump_json().encode())
        self._seen = None
        return new

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _load(self) -> M | None:
        try:
            with own_folder(self._anchor, *self._folders) as folder:
                return self._parse(folder)
        except FileNotFoundError:
            return None

    def _parse(self, folder: int) -> M | None:
        try:
            return self._kind.model_validate_json(read_small(folder, self._name, self._limit))
        except FileNotFoundError:
            return None
        except UnfitFile as error:
            raise self._damaged(str(error)) from error
        except ValidationError:
            raise self._damaged("it is damaged, or a newer release wrote it") from None  # the cause would quote it

    def _damaged(self, why: str) -> StateError:
        return StateError(
            f"{self.path} cannot be used: {why}",
            hint="move it away and start the daemon again; tokens that were issued before are void then",
            details={"path": str(self.path)},
        )


@contextmanager
def _exclusive(folder: int, name: str) -> Iterator[None]:
    handle = os.open(name, _LOCK_FLAGS, FILE_MODE, dir_fd=folder)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
