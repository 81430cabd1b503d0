"""Reading single objects from an object store that somebody hostile writes.

Nothing of it is believed. Only regular files inside the store are opened, none through a symbolic link; what it borrows
from elsewhere is not looked at. Sizes are bounded before anything is inflated, chains of differences are bounded in length, and an
object counts only when its content has the id it was asked for by.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zlib
from contextlib import ExitStack
from types import TracebackType
from typing import Final, NamedTuple, NoReturn, Self

from nexus.errors import GitError
from nexus.git import beneath

COMMIT: Final = 1
TREE: Final = 2
BLOB: Final = 3
TAG: Final = 4
KIND_NAMES: Final = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}

MAX_OBJECT: Final = 512 << 20
"""Bytes of the largest object that is read."""
MAX_WORK: Final = 32 << 30
"""Bytes that are inflated in all before a store is given up as a bomb."""

_NUMBERS: Final = {name: number for number, name in KIND_NAMES.items()}
_OFFSET_DELTA: Final = 6
_NAMED_DELTA: Final = 7
_MAX_CHAIN: Final = 4096
_MAX_PACKS: Final = 4096
_CHUNK: Final = 1 << 16
_INDEX_MAGIC: Final = b"\xfftOc\x00\x00\x00\x02"
_FANOUT_END: Final = 8 + 4 * 256
_PACK_NAME: Final = re.compile(rb"pack-[0-9a-f]{40}\.idx")
_HEADER: Final = 64


class _Pack(NamedTuple):
    data: int
    size: int
    listing: int
    objects: int


class ForeignObjects:
    """The objects of a hostile store. Leaving the ``with`` block closes what was opened.

    Args:
        objects: Descriptor of its folder ``objects``.
        max_object: Bytes of the largest object that is read.
    """

    def __init__(self, objects: int, *, max_object: int = MAX_OBJECT) -> None:
        self._objects = objects
        self._max_object = max_object
        self._work = 0
        self._packs: list[_Pack] | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def read(self, sha: bytes) -> tuple[int, bytes] | None:
        """Return an object's kind and content; ``None`` when the store does not have it.

        Args:
            sha: Its raw id.

        Raises:
            GitError: When it is damaged, too large, or not what its id says.
        """
        found = self._loose(sha)
        if found is None:
            found = self._packed(sha)
        if found is None:
            return None
        kind, content = found
        header = b"%s %d\0" % (KIND_NAMES[kind], len(content))
        if hashlib.sha1(header + content, usedforsecurity=False).digest() != sha:
            _damaged(sha, "its content has another id")
        return found

    # One file for one object ----------------------------------------------------------------------------------------

    def _loose(self, sha: bytes) -> tuple[int, bytes] | None:
        name = sha.hex().encode()
        try:
            raw = beneath.read_file(self._objects, b"%s/%s" % (name[:2], name[2:]), limit=self._max_object)
        except FileNotFoundError:
            return None
        except OSError as error:
            _damaged(sha, f"its file cannot be read: {error.strerror}")
        inflating = zlib.decompressobj()
        try:
            start = inflating.decompress(raw, _HEADER)
            header, nul, rest = start.partition(b"\0")
            word, _, digits = header.partition(b" ")
            if not nul or word not in _NUMBERS or not digits.isdigit():
                _damaged(sha, "its header is none")
            size = self._allowed(sha, int(digits))
            content = rest + inflating.decompress(inflating.unconsumed_tail, max(size - len(rest), 0) + 1)
        except zlib.error as error:
            _damaged(sha, str(error))
        if len(content) != size or not inflating.eof:
            _damaged(sha, "its size is wrong")
        return _NUMBERS[word], content

    def _allowed(self, sha: bytes, size: int) -> int:
        if size > self._max_object:
            raise GitError(
                f"the object {sha.hex()} has {size} bytes; more than {self._max_object} are not taken back",
                details={"object": sha.hex(), "bytes": size},
            )
        self._work += size
        if self._work > MAX_WORK:
            raise GitError("the clone's objects do not stop growing while they are unpacked; they are not taken back")
        return size

    # Many objects in one file ---------------------------------------------------------------------------------------

    def _packed(self, sha: bytes) -> tuple[int, bytes] | None:
        if self._packs is None:
            self._packs = self._open_packs()
        for pack in self._packs:
            offset = _find(pack, sha)
            if offset is not None:
                return self._resolve(pack, offset, sha)
        return None

    def _open_packs(self) -> list[_Pack]:
        try:
            folder = os.open(b"pack", beneath.FOLDER, dir_fd=self._objects)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise GitError(f"the clone's packs cannot be read: {error.strerror}") from error
        self._closing.callback(os.close, folder)
        with os.scandir(folder) as entries:
            names = sorted(os.fsencode(entry.name) for entry in entries)
        names = [name for name in names if _PACK_NAME.fullmatch(name)]
        if len(names) > _MAX_PACKS:
            raise GitError(f"the clone has {len(names)} packs; more than {_MAX_PACKS} are not read")
        return [self._open_pack(folder, name) for name in names]

    def _open_pack(self, folder: int, name: bytes) -> _Pack:
        index, index_size = self._open(folder, name)
        data, size = self._open(folder, name.removesuffix(b".idx") + b".pack")
        count = 0
        if os.pread(index, len(_INDEX_MAGIC), 0) == _INDEX_MAGIC:
            count = _word(index, _FANOUT_END - 4)
        if not count or index_size < _FANOUT_END + 28 * count + 40:
            raise GitError(f"the index of the clone's pack {name.decode()} is damaged")
        return _Pack(data, size, index, count)

    def _open(self, folder: int, name: bytes) -> tuple[int, int]:
        try:
            descriptor = os.open(name, beneath.FILE, dir_fd=folder)
        except OSError as error:
            raise GitError(f"the clone's pack {name.decode()} cannot be opened: {error.strerror}") from error
        self._closing.callback(os.close, descriptor)
        status = os.fstat(descriptor)
        if status.st_mode & 0o170000 != 0o100000:
            raise GitError(f"the clone's pack {name.decode()} is not a regular file")
        return descriptor, status.st_size

    def _resolve(self, pack: _Pack, offset: int, sha: bytes) -> tuple[int, bytes]:
        """Follow a chain of differences down to a whole object, then back up."""
        differences: list[bytes] = []
        held = 0
        while True:
            kind, size, start, base = self._entry(pack, offset, sha)
            content = self._inflate(pack, start, self._allowed(sha, size), sha)
            if kind in KIND_NAMES:
                break
            differences.append(content)
            held += len(content)
            if base is None or len(differences) > _MAX_CHAIN or held > 2 * self._max_object:
                _damaged(sha, "its chain of differences has no end")
            offset = base
        for difference in reversed(differences):
            content = self._apply(content, difference, sha)
        return kind, content

    def _entry(self, pack: _Pack, offset: int, sha: bytes) -> tuple[int, int, int, int | None]:
        """Return kind, size, where the content starts, and where the object is that it differs from."""
        head = os.pread(pack.data, _HEADER, offset)
        if not 0 < offset < pack.size or len(head) < 2:
            _damaged(sha, "its place is outside the pack")
        try:
            kind, size, at = head[0] >> 4 & 7, head[0] & 15, 1
            shift, more = 4, head[0] & 0x80
            while more:
                size |= (head[at] & 0x7F) << shift
                shift, more, at = shift + 7, head[at] & 0x80, at + 1
            if kind in KIND_NAMES:
                return kind, size, offset + at, None
            if kind == _NAMED_DELTA:
                base = _find(pack, head[at : at + 20])
                return kind, size, offset + at + 20, base
            if kind != _OFFSET_DELTA:
                _damaged(sha, f"it is of the unknown kind {kind}")
            distance, more = head[at] & 0x7F, head[at] & 0x80
            at += 1
            while more:
                distance = (distance + 1) << 7 | head[at] & 0x7F
                more, at = head[at] & 0x80, at + 1
        except IndexError:
            _damaged(sha, "its header has no end")
        return kind, size, offset + at, offset - distance if 0 < distance < offset else None

    def _inflate(self, pack: _Pack, start: int, size: int, sha: bytes) -> bytes:
        inflating = zlib.decompressobj()
        parts: list[bytes] = []
        got = 0
        try:
            while not inflating.eof:
                data = inflating.unconsumed_tail or os.pread(pack.data, _CHUNK, start)
                if not data:
                    _damaged(sha, "the pack ends within it")
                start += 0 if inflating.unconsumed_tail else len(data)
                part = inflating.decompress(data, size - got + 1)
                parts.append(part)
                got += len(part)
                if got > size:
                    _damaged(sha, "it is larger than it says")
        except zlib.error as error:
            _damaged(sha, str(error))
        if got != size:
            _damaged(sha, "it is smaller than it says")
        return b"".join(parts)

    def _apply(self, base: bytes, difference: bytes, sha: bytes) -> bytes:
        """Return what a difference makes of its base, never more than it announced and we allow."""
        try:
            at, source = _varint(difference, 0)
            at, wanted = _varint(difference, at)
            if source != len(base):
                _damaged(sha, "a difference is for something else")
            self._allowed(sha, wanted)
            out = bytearray()
            while at < len(difference):
                code = difference[at]
                at += 1
                if code & 0x80:
                    at, start, length = _copy(difference, at, code)
                    piece = base[start : start + length]
                elif code:
                    piece = difference[at : at + code]
                    at, length = at + code, code
                else:
                    _damaged(sha, "a difference has an unknown step")
                if len(piece) != length or len(out) + length > wanted:
                    _damaged(sha, "a difference reaches too far")
                out += piece
        except IndexError:
            _damaged(sha, "a difference has no end")
        if len(out) != wanted:
            _damaged(sha, "a difference makes less than it says")
        return bytes(out)


def _damaged(sha: bytes, why: str) -> NoReturn:
    raise GitError(f"the clone's object {sha.hex()} is damaged: {why}", details={"object": sha.hex()})


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return at, value
        if shift > _HEADER:
            raise IndexError


def _copy(difference: bytes, at: int, code: int) -> tuple[int, int, int]:
    start = length = 0
    for bit in range(4):
        if code & 1 << bit:
            start |= difference[at] << 8 * bit
            at += 1
    for bit in range(3):
        if code & 0x10 << bit:
            length |= difference[at] << 8 * bit
            at += 1
    return at, start, length or 0x10000


def _word(descriptor: int, at: int) -> int:
    data = os.pread(descriptor, 4, at)
    return int(struct.unpack(">L", data)[0]) if len(data) == 4 else 0


def _find(pack: _Pack, sha: bytes) -> int | None:
    """Return where an object is in a pack, as its index says; whether that is true shows in the object's content."""
    if len(sha) != 20:
        return None
    low = _word(pack.listing, 8 + 4 * (sha[0] - 1)) if sha[0] else 0
    high = min(_word(pack.listing, 8 + 4 * sha[0]), pack.objects)
    while low < high:
        middle = (low + high) // 2
        there = os.pread(pack.listing, 20, _FANOUT_END + 20 * middle)
        if there == sha:
            return _offset(pack, middle)
        if there < sha:
            low = middle + 1
        else:
            high = middle
    return None


def _offset(pack: _Pack, number: int) -> int:
    offset = _word(pack.listing, _FANOUT_END + 24 * pack.objects + 4 * number)
    if not offset & 0x80000000:
        return offset
    data = os.pread(pack.listing, 8, _FANOUT_END + 28 * pack.objects + 8 * (offset & 0x7FFFFFFF))
    return int(struct.unpack(">Q", data)[0] & 0x7FFFFFFFFFFFFFFF) if len(data) == 8 else 0
