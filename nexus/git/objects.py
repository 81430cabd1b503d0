"""Reading and writing objects from several threads: each thread has a store of its own, none is safe to share."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from dulwich.object_store import DiskObjectStore
from dulwich.objects import Blob, ObjectID

from nexus.errors import GitError
from nexus.git.repository import object_store
from nexus.git.trees import hexadecimal
from nexus.models.workspace import Repository


class Blobs:
    """Gives the content of blobs to any number of threads. Leaving the ``with`` block closes what was opened.

    Args:
        repository: Whose objects they are.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._mine = threading.local()
        self._opened: list[DiskObjectStore] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for store in self._opened:
            store.close()

    def read(self, sha: bytes, shown: str) -> bytes:
        """Return a blob's content.

        Args:
            sha: Its raw id.
            shown: The path it is wanted for, for the error.

        Raises:
            GitError: When it is missing or is no blob.
        """
        store: DiskObjectStore | None = getattr(self._mine, "store", None)
        if store is None:
            store = self._mine.store = object_store(self._repository)
            self._opened.append(store)
        try:
            kind, content = store.get_raw(hexadecimal(sha))
        except KeyError as error:
            raise GitError(
                f"the content of {shown!r} ({sha.hex()}) is not in the repository",
                hint="`git fsck` tells what is missing; a partial clone needs `git fetch --refetch` first",
                details={"path": shown, "object": sha.hex()},
            ) from error
        if kind != Blob.type_num:
            raise GitError(f"the object {sha.hex()} at {shown!r} is not a file's content", details={"path": shown})
        return content


def blob_id(content: bytes) -> bytes:
    """Return the raw id that content has as a blob."""
    return bytes.fromhex(Blob.from_string(content).id.decode())


def stored(store: DiskObjectStore, sha: bytes) -> bytes | None:
    """Return a blob's content, or ``None`` when it is not there."""
    try:
        kind, content = store.get_raw(ObjectID(sha.hex().encode()))
    except KeyError:
        return None
    return content if kind == Blob.type_num else None
