"""Objects of a clone, brought into the main repository with everything that they need.

Each is verified before it is written: content against id, kind against use, form against git's rules. What it needs is written before
it is, so that what the main repository has it has whole, and never needs the clone again.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from dulwich.errors import ObjectFormatException
from dulwich.objects import Commit, ObjectID, ShaFile, Tag, Tree, parse_tree
from dulwich.repo import Repo

from nexus.errors import GitError
from nexus.git.foreign import BLOB, COMMIT, KIND_NAMES, TAG, TREE, ForeignObjects
from nexus.git.index_file import SUBMODULE
from nexus.git.threads import Stop
from nexus.git.trees import is_hostile_name, shown

_MAX_OBJECTS: Final = 2_000_000
_MAX_BYTES: Final = 8 << 30


class _Frame(NamedTuple):
    sha: bytes
    kind: int
    content: bytes
    needs: Iterator[tuple[bytes, int]]


class Bringing:
    """Walks from a root down, and writes on the way back up.

    With ``led_to``, commits that refs lead to, only what they, a pack or ``known`` hold counts as there.
    """

    def __init__(
        self,
        repo: Repo,
        foreign: ForeignObjects,
        known: Mapping[bytes, int],
        stop: Stop,
        led_to: AbstractSet[bytes] | None = None,
    ) -> None:
        self._store = repo.object_store
        self._led_to = led_to
        self._foreign = foreign
        self._known = dict(known)
        self._stop = stop
        self._objects = 0
        self._bytes = 0

    def commit(self, sha: bytes, what: str) -> bytes:
        """Bring what a ref leads to, and return the commit that it stands for.

        Raises:
            GitError: When it stands for none.
        """
        while True:
            raw = raw_id(sha)
            kind = self.bring(raw, None)
            if kind == COMMIT:
                return sha
            found = self._store[ObjectID(sha)] if kind == TAG else None
            if not isinstance(found, Tag):
                raise GitError(f"in the clone {what} leads to a {KIND_NAMES[kind].decode()}, not to a commit")
            sha = bytes(found.object[1])

    def commit_if_there(self, sha: bytes) -> None:
        """Bring a commit if the clone has it: what merely looks like an id is no commit."""
        raw = raw_id(sha)
        if self._there(raw, None) is None:
            found = self._foreign.read(raw) or self._stored(raw)
            if found is not None and found[0] == COMMIT:
                self.bring(raw, COMMIT)

    def bring(self, sha: bytes, expected: int | None) -> int:
        """Bring an object with everything it needs, and return its kind."""
        kind = self._there(sha, expected)
        if kind is not None:
            return kind
        frames = [self._enter(sha, expected)]
        kind = frames[0].kind
        while frames:
            self._stop.check()
            frame = frames[-1]
            for needed, needed_kind in frame.needs:
                if self._there(needed, needed_kind) is None:
                    frames.append(self._enter(needed, needed_kind))
                    break
            else:
                self._write(frames.pop())
        return kind

    def _there(self, sha: bytes, expected: int | None) -> int | None:
        kind = self._known.get(sha)
        if kind is None:
            found = None if self._may_go(sha) else self._stored(sha)
            if found is None:
                return None
            kind, _ = found
            self._known[sha] = kind
        _require(sha, kind, expected)
        return kind

    def _may_go(self, sha: bytes) -> bool:
        """Return whether an object has to be written again: nothing may lead to it, left by somebody who only looked."""
        name = ObjectID(sha.hex().encode())
        return (
            self._led_to is not None
            and sha not in self._led_to
            and self._store.contains_loose(name)
            and not self._store.contains_packed(name)
        )

    def _stored(self, sha: bytes) -> tuple[int, bytes] | None:
        try:
            return self._store.get_raw(ObjectID(sha.hex().encode()))
        except KeyError:
            return None

    def _enter(self, sha: bytes, expected: int | None) -> _Frame:
        found = self._foreign.read(sha) or self._stored(sha)
        if found is None:
            raise GitError(
                f"the clone lacks the object {sha.hex()}, which its work needs", details={"object": sha.hex()}
            )
        kind, content = found
        _require(sha, kind, expected)
        self._objects += 1
        self._bytes += len(content)
        if self._objects > _MAX_OBJECTS or self._bytes > _MAX_BYTES:
            raise GitError(
                f"the clone's work is more than {_MAX_OBJECTS:,} objects or {_MAX_BYTES >> 30} GiB; it is not taken back",
                hint="push it to a remote from inside the workspace",
            )
        return _Frame(sha, kind, content, iter(_needs(sha, kind, content)))

    def _write(self, frame: _Frame) -> None:
        self._store.add_object(ShaFile.from_raw_string(frame.kind, frame.content))
        self._known[frame.sha] = frame.kind


def raw_id(sha: bytes) -> bytes:
    """Return an id that is written in hexadecimal digits as bytes."""
    return bytes.fromhex(sha.decode())


def _require(sha: bytes, kind: int, expected: int | None) -> None:
    if expected is not None and kind != expected:
        raise GitError(
            f"the object {sha.hex()} is a {KIND_NAMES[kind].decode()} where a {KIND_NAMES[expected].decode()} is needed",
            details={"object": sha.hex()},
        )


def _needs(sha: bytes, kind: int, content: bytes) -> list[tuple[bytes, int]]:
    """Return what an object needs, after making sure that it has the form of its kind."""
    if kind == BLOB:
        return []
    try:
        made = ShaFile.from_raw_string(kind, content)
        made.check()
        if isinstance(made, Commit):
            return [(raw_id(made.tree), TREE), *((raw_id(parent), COMMIT) for parent in made.parents)]
        if isinstance(made, Tree):
            return list(_in_tree(content))
        if isinstance(made, Tag):
            target, named = made.object
            return [(raw_id(named), target.type_num)]
    except (ObjectFormatException, ValueError, KeyError, IndexError, TypeError, AssertionError) as error:
        raise GitError(
            f"the clone's {KIND_NAMES[kind].decode()} {sha.hex()} is not well formed: {error}",
            details={"object": sha.hex()},
        ) from error
    raise GitError(f"the clone's object {sha.hex()} is of no kind that is known")


def _in_tree(content: bytes) -> Iterator[tuple[bytes, int]]:
    for name, mode, child in parse_tree(content, 20, strict=True):
        if is_hostile_name(name):
            raise ValueError(f"it holds the name {shown(name)!r}")
        if mode & 0o170000 != SUBMODULE:
            yield raw_id(child), TREE if stat.S_ISDIR(mode) else BLOB
