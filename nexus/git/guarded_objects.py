"""The repository's objects, read so that nothing a workspace puts in their place can hold us, fill the memory or pass unnoticed.

A linked worktree's container writes the same ``objects`` folder that we read. A pipe in the place of an object would hold an ordinary
reader for ever, a link to a device would never end, a huge sparse file would fill the memory. So each file is opened without
following a link and without waiting, must be a regular one, and is bounded in size. What is damaged is said as :class:`GitError`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from dulwich.errors import ChecksumMismatch, FileFormatException
from dulwich.file import FileLocked
from dulwich.object_store import BaseObjectStore, DiskObjectStore
from dulwich.objects import Commit, ObjectID, RawObjectID, ShaFile
from dulwich.pack import UnresolvedDeltas
from typing_extensions import override

from nexus.errors import GitError, NotARepository
from nexus.git import beneath
from nexus.git.plain_store import require_plain_objects
from nexus.git.shelter import Shelter

MAX_OBJECT: Final = 512 << 20
"""Bytes of the largest file with one object, and of what is inflated from it."""
_MAX_BORROWED: Final = 5
"""How far one store borrows from the next; git stops there as well."""
_DAMAGED: Final = (
    zlib.error,
    struct.error,
    FileFormatException,
    ChecksumMismatch,
    UnresolvedDeltas,
    AssertionError,
    AttributeError,
    IndexError,
    TypeError,
    ValueError,
    OSError,
)
"""What the library raises for objects and packs that are not what they should be."""


class GuardedObjects(DiskObjectStore):
    """A store of objects that somebody hostile may have written to."""

    _borrowed: int = 0
    _shelter: Shelter | None = None

    @contextmanager
    def sheltered(self) -> Iterator[Shelter]:
        """Have no garbage collection take what is added, until the block ends. It is there for others once the shelter is sealed."""
        if self._shelter is not None:
            yield self._shelter
            return
        self._shelter = Shelter(Path(self.pack_dir), self.pack_compression_level)
        try:
            yield self._shelter
        finally:
            self._shelter.close()
            self._shelter = None

    def borrow_only(self, stores: Sequence[BaseObjectStore]) -> None:
        """Have it borrow from these, whatever its own files say."""
        self._alternates = list(stores)

    @override
    def close(self) -> None:
        for store in self._alternates or ():
            store.close()
        super().close()

    @override
    def _get_loose_object(self, sha: ObjectID | RawObjectID) -> ShaFile | None:
        name = ObjectID(sha if len(sha) == 40 else sha.hex().encode())
        with _told(name):
            content = beneath.read_regular(Path(self._get_shafile_path(name)), limit=MAX_OBJECT)
            if content is None:
                return None
            return ShaFile.from_file(io.BytesIO(content), name, max_size=MAX_OBJECT)

    @override
    def get_raw(self, name: RawObjectID | ObjectID) -> tuple[int, bytes]:
        with _told(name):
            if self._shelter is not None and _raw(name) in self._shelter:
                return self._shelter.read(_raw(name))
            return super().get_raw(name)

    @override
    def __contains__(self, sha: ObjectID) -> bool:
        with _told(sha):
            return (self._shelter is not None and _raw(sha) in self._shelter) or super().__contains__(sha)

    @override
    def __getitem__(self, sha1: ObjectID | RawObjectID) -> ShaFile:
        with _told(sha1):
            found = super().__getitem__(sha1)
            if isinstance(found, Commit):
                # It is taken apart on first use: now, where what is wrong with it can still be said.
                _ = found.parents, found.tree, found.commit_time
            return found

    @override
    def add_object(self, obj: ShaFile) -> None:
        if self._shelter is not None:
            with _refused(obj):
                self._shelter.add(obj)
            return
        # A file in the object's place counts as the object for the library. What we keep must really be there.
        path = Path(self._get_shafile_path(obj.id))
        try:
            there = beneath.read_regular(path, limit=MAX_OBJECT)
            whole = there is None or _holds(there, obj)
        except OSError:
            whole = False
        if not whole:
            with suppress(FileNotFoundError):
                path.unlink()
        with _refused(obj):
            super().add_object(obj)

    @property
    @override
    def alternates(self) -> list[BaseObjectStore]:
        if self._alternates is None:
            found: list[BaseObjectStore] = []
            for path in self._read_alternate_paths() if self._borrowed < _MAX_BORROWED else ():
                require_plain_objects(Path(path))
                store = GuardedObjects(path)
                store._borrowed = self._borrowed + 1
                found.append(store)
            self._alternates = found
        return self._alternates


def _holds(content: bytes, obj: ShaFile) -> bool:
    try:
        found = ShaFile.from_file(io.BytesIO(content), max_size=MAX_OBJECT)
    except _DAMAGED:
        return False
    return (found.type_num, found.as_raw_string()) == (obj.type_num, obj.as_raw_string())


def _raw(sha: bytes) -> bytes:
    return sha if len(sha) == 20 else bytes.fromhex(sha.decode())


@contextmanager
def _refused(obj: ShaFile) -> Iterator[None]:
    try:
        yield
    except FileLocked:
        raise
    except OSError as error:
        raise GitError(
            f"the object {obj.id.decode()} cannot be written: {error.strerror}",
            hint="is the disk full, or the repository read-only?",
            details={"object": obj.id.decode()},
        ) from error


@contextmanager
def _told(sha: bytes) -> Iterator[None]:
    """Turn what the library raises for a damaged object into an error that names it."""
    try:
        yield
    except (GitError, NotARepository, KeyError, FileLocked):
        raise
    except _DAMAGED as error:
        name = (sha if len(sha) == 40 else sha.hex().encode()).decode("ascii", "backslashreplace")
        why = error.strerror if isinstance(error, OSError) else str(error) or type(error).__name__
        raise GitError(
            f"the object {name} cannot be read: {why}",
            hint="`git fsck` tells what is damaged; `git fetch --refetch` brings what a remote has",
            details={"object": name},
        ) from error
