"""One SQLite file that many processes write: connections, schema, and plain errors instead of the driver's.

Everything here blocks and is called on worker threads.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from nexus.errors import Busy, RegistryDamaged, StateError
from nexus.state import tables
from nexus.state.files import FILE_MODE, FOLDER_MODE, translated
from nexus.state.tables import SCHEMA, TABLES

T = TypeVar("T")

_BUSY_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.01
_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_MOVE_AWAY: Final = (
    "'boulder doctor --fix' moves it away and makes it again from the workspaces' records; "
    "by hand: mv {path} {path}.damaged"
)
_DAMAGE_CODES: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_INHERITED: Final[list[sqlite3.Connection]] = []
"""Connections of a parent process. SQLite forbids a child to use them, and to close them as well, so they are kept for ever."""


class _Session:
    """An open connection, and what has to be true for it to be usable."""

    def __init__(self, connection: sqlite3.Connection, file: tuple[int, int]) -> None:
        self.connection = connection
        self.file = file
        self.process = os.getpid()

    def close(self) -> None:
        if self.process == os.getpid():
            self.connection.close()
        else:
            _INHERITED.append(self.connection)


class Database:
    """The file, opened on first use and again after it was deleted, moved, or inherited by a forked child.

    One connection is kept: the last one to close would each time write the log back and sync it to the disk.

    Args:
        path: The database file. It is made when missing, for its owner only; an existing one keeps its permissions.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._guard = threading.Lock()
        self._guard_process = os.getpid()
        self._session: _Session | None = None
        self._finalizer: weakref.finalize[..., Database] | None = None

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in a transaction that no other writer is in. What ``work`` raises rolls it back.

        Raises:
            Busy: When other writers were quicker for ten seconds.
            StateError: When the file is damaged, of a newer schema, or cannot be used.
        """
        with self._alone(), self._translated():
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # Some errors (a full disk) make SQLite roll back by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    def close(self) -> None:
        """Close the connection. The next call opens it again."""
        with self._alone():
            self._drop()

    def move_away(self) -> Path | None:
        """Move a damaged file aside, so that the next call makes an empty one. A file that is sound, or gone, stays as it is.

        Returns:
            Where it is now; ``None`` when there was nothing to move.

        Raises:
            Busy: When somebody else is moving it for more than ten seconds.
            StateError: When it cannot be moved, or cannot be used for another reason than damage.
        """
        with translated("move the node's registry away", self.path), _alone_at(self.path):
            try:
                # Under the lock: who came second finds the sound one that the first has made meanwhile.
                self.transact(tables.check)
            except RegistryDamaged:
                self.close()
                return _aside(self.path)
        return None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._guard_process != os.getpid():
            # A thread of the parent may have held the guard at the moment of the fork; nobody here will ever let go of it.
            self._guard, self._guard_process = threading.Lock(), os.getpid()
        with self._guard:
            yield

    def _connect(self) -> sqlite3.Connection:
        file = self._identity()
        session = self._session
        if session is not None and session.file == file and session.process == os.getpid():
            return session.connection
        self._drop()
        session = self._open()
        self._session = session
        self._finalizer = weakref.finalize(self, session.close)
        return session.connection

    def _drop(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._session = self._finalizer = None

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _open(self) -> _Session:
        with translated("make the node's registry", self.path):
            self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            # SQLite gives its -wal and -shm files the permissions of this one.
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
            status = self.path.stat()
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        connection.row_factory = sqlite3.Row
        try:
            _prepare(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return _Session(connection, (status.st_dev, status.st_ino))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._error(error) from error
        except ValidationError as error:
            raise RegistryDamaged(
                f"the node's registry {self.path} holds a row that makes no sense: {error.errors()[0]['msg']}",
                hint=_MOVE_AWAY.format(path=self.path),
                details={"path": str(self.path)},
            ) from error
        except UnicodeEncodeError as error:
            raise StateError(
                f"the node's registry holds UTF-8 text only, and this has none: {error.object!r}"
            ) from error

    def _error(self, error: sqlite3.Error) -> StateError | Busy:
        # The low byte is the code, the others only tell kinds of it apart.
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        details = {"path": str(self.path), "sqlite": str(error)}
        if code in _BUSY_CODES:
            return Busy(
                f"the node's registry was busy for {_BUSY_SECONDS:g} s ({self.path})",
                hint="try again; if it stays so, look for a stopped process that has the file open",
                details={**details, "holder": None},
            )
        if code in _DAMAGE_CODES:
            return RegistryDamaged(
                f"the node's registry {self.path} is damaged: {error}",
                hint=_MOVE_AWAY.format(path=self.path),
                details=details,
            )
        return StateError(
            f"the node's registry {self.path} cannot be used: {error}",
            hint="check that the file and its folder belong to you and that the disk is not full",
            details=details,
        )


@contextmanager
def _alone_at(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + _BUSY_SECONDS
    handle = os.open(f"{path}.repair", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(f"the node's registry {path} is being repaired by somebody else") from None
                time.sleep(_RETRY_SECONDS)
        yield
    finally:
        os.close(handle)


def _aside(path: Path) -> Path:
    """Move the file and what SQLite keeps beside it. The log goes first: beside a new file it would be taken for its own."""
    mark = f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(f"{path.name}.{mark}{suffix}"))
    return path.with_name(f"{path.name}.{mark}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _write_ahead(connection)
    # A power cut may take back the last transactions, never tear one. Ports are in the records as well, and
    # a sync for each lease would cost more than all the rest of it.
    connection.execute("PRAGMA synchronous = NORMAL")
    if _version(connection, path) == SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection, path) == 0:  # nobody was quicker
        for statement in TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _write_ahead(connection: sqlite3.Connection) -> None:
    # Changing the mode needs the file alone and does not wait for it, whatever the time-out says.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            # Where the file system cannot share memory, SQLite stays with its old mode: slower, and as safe.
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY_CODES or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _version(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StateError(
            f"the node's registry {path} has schema {version}, newer than {SCHEMA}, the newest this version of Nexus knows",
            hint="use the newer version of Nexus",
            details={"path": str(path), "schema": version},
        )
    return version
