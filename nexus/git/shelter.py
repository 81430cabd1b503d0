"""Writing objects that no garbage collection takes while nothing leads to them yet.

Somebody's ``git gc --prune=now`` deletes every loose object that no ref leads to, also one that was written a moment ago for a ref that
is just about to be made. What is written in a shelter is one pack instead, and beside it lies a ``.keep`` file, which git heeds,
until the refs are made. Whoever is killed meanwhile leaves a ``.keep`` that nobody has locked; the next shelter removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple

from dulwich.object_format import SHA1
from dulwich.objects import ShaFile
from dulwich.pack import pack_object_header, write_pack_index_v2

from nexus.git import beneath

_NOTE: Final = b"nexus: until a ref leads to it\n"
_NEW: Final = re.compile(r"nexus-[0-9a-f]{16}\.new", re.ASCII)
_KEEP: Final = re.compile(r"pack-[0-9a-f]{40}\.keep", re.ASCII)
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PACK_MODE: Final = 0o444
_COUNT_AT: Final = 8
_CHUNK: Final = 1 << 20


class _Place(NamedTuple):
    """Where an object is in the pack that is being written."""

    offset: int
    checksum: int
    kind: int
    content: slice
    """Where what it holds is, compressed."""


class Shelter:
    """The packs that stay while it is open.

    Args:
        packs: The folder for packs. Somebody hostile may write in it: no link is followed.
        level: How hard to compress, as zlib counts; -1 leaves it to zlib.
    """

    def __init__(self, packs: Path, level: int = -1) -> None:
        self._packs = packs
        self._level = level
        self._closing = ExitStack()
        self._folder = -1
        self._draft: IO[bytes] | None = None
        self._draft_name = ""
        self._places: dict[bytes, _Place] = {}

    def __contains__(self, sha: bytes) -> bool:
        """Whether an object waits for :meth:`seal`; ``sha`` is raw."""
        return sha in self._places

    def add(self, obj: ShaFile) -> None:
        """Write an object, once.

        Raises:
            OSError: When it cannot be written.
        """
        sha = obj.sha().digest()
        if sha in self._places:
            return
        draft = self._opened()
        header = bytes(pack_object_header(obj.type_num, None, obj.raw_length(), SHA1))
        offset = draft.tell()
        compressor = zlib.compressobj(self._level)
        checksum = 0
        for part in (header, *map(compressor.compress, obj.as_raw_chunks()), compressor.flush()):
            draft.write(part)
            checksum = zlib.crc32(part, checksum)
        content = slice(offset + len(header), draft.tell())
        self._places[sha] = _Place(offset, checksum, obj.type_num, content)

    def read(self, sha: bytes) -> tuple[int, bytes]:
        """Return the kind and content of an object that waits for :meth:`seal`.

        Raises:
            KeyError: When there is none.
        """
        place, draft = self._places[sha], self._opened()
        draft.seek(place.content.start)
        try:
            return place.kind, zlib.decompress(draft.read(place.content.stop - place.content.start))
        finally:
            draft.seek(0, os.SEEK_END)

    def seal(self) -> None:
        """Make everything that was added visible, for good as far as git is concerned while this is open. Now refs may be made.

        Raises:
            OSError: When it cannot be written; nothing is visible then.
        """
        if self._draft is None or not self._places:
            return
        draft = self._draft
        checksum = _finish(draft, len(self._places))
        stem = f"pack-{hashlib.sha1(checksum + secrets.token_bytes(8), usedforsecurity=False).hexdigest()}"
        self.keep(stem)
        self._publish(self._draft_name, f"{stem}.pack")
        self._draft = None
        draft.close()
        with self._new() as (index, name):
            entries = sorted((sha, place.offset, place.checksum) for sha, place in self._places.items())
            write_pack_index_v2(index, entries, checksum)
            _to_disk(index)
            self._publish(name, f"{stem}.idx")
        self._places = {}

    def keep(self, stem: str) -> None:
        """Have git leave the pack of this name alone until this is closed; the pack need not be there yet.

        Raises:
            OSError: When that cannot be written.
        """
        self._enter()
        note, name = self._closing.enter_context(self._new())
        note.write(_NOTE)
        note.flush()
        os.rename(name, f"{stem}.keep", src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._closing.callback(_unlink, f"{stem}.keep", self._folder)

    def close(self) -> None:
        """Let git treat what was sealed as anything else; what was not sealed is gone."""
        self._draft = None
        self._places = {}
        self._closing.close()
        self._folder = -1

    def _enter(self) -> None:
        if self._folder == -1:
            self._folder = os.open(self._packs, beneath.FOLDER)
            self._closing.callback(os.close, self._folder)
            _sweep(self._folder)

    def _opened(self) -> IO[bytes]:
        if self._draft is None:
            self._enter()
            self._draft, self._draft_name = self._closing.enter_context(self._new())
            self._draft.write(b"PACK" + struct.pack(">LL", 2, 0))
        return self._draft

    @contextmanager
    def _new(self) -> Iterator[tuple[IO[bytes], str]]:
        """Make a file that is locked while it is open, and removed if it still has this name then."""
        while True:
            name = f"nexus-{secrets.token_hex(8)}.new"
            file = os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=self._folder), "w+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                break
            file.close()  # swept away before it was locked
        try:
            yield file, name
        finally:
            _unlink(name, self._folder)
            with suppress(OSError):  # what a full disk refused to take; the file is gone or was written out before
                file.close()

    def _publish(self, name: str, target: str) -> None:
        os.chmod(name, _PACK_MODE, dir_fd=self._folder)
        os.rename(name, target, src_dir_fd=self._folder, dst_dir_fd=self._folder)


def sweep(packs: Path) -> None:
    """Remove what killed processes left of their shelters."""
    with suppress(OSError):
        folder = os.open(packs, beneath.FOLDER)
        try:
            _sweep(folder)
        finally:
            os.close(folder)


def _sweep(folder: int) -> None:
    for name in os.listdir(folder):
        if _NEW.fullmatch(name) or _KEEP.fullmatch(name):
            with suppress(OSError):
                _drop_abandoned(name, folder)


def _drop_abandoned(name: str, folder: int) -> None:
    file = os.open(name, beneath.FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever is at work holds it
        if _NEW.fullmatch(name) or os.read(file, len(_NOTE) + 1) == _NOTE:
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(file)


def _finish(draft: IO[bytes], count: int) -> bytes:
    """Write how many objects there are, and the checksum over all; return that."""
    draft.seek(_COUNT_AT)
    draft.write(struct.pack(">L", count))
    draft.seek(0)
    digest = hashlib.sha1(usedforsecurity=False)
    while part := draft.read(_CHUNK):
        digest.update(part)
    draft.write(digest.digest())
    _to_disk(draft)
    return digest.digest()


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _unlink(name: str, folder: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
