"""Which commits are where: pure walks over the commit graph, given a function that knows a commit's parents."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

from dulwich.objects import Commit, ObjectID
from dulwich.repo import Repo

from nexus.errors import GitError


class Node(NamedTuple):
    """What a walk needs to know of a commit."""

    time: int
    parents: tuple[bytes, ...]


Look: TypeAlias = "Callable[[bytes], Node]"

_LEFT: Final = 1
_RIGHT: Final = 2


def only_left(look: Look, left: Iterable[bytes], right: Iterable[bytes]) -> list[bytes]:
    """Return the commits that are reachable from ``left`` and not from ``right``, newest first.

    Where clocks were wrong a commit of both may be returned too; one that only ``left`` has is never left out.
    """
    walk = _Walk(look, interesting={_LEFT})
    walk.start(left, right)
    return [sha for sha, colours in walk.colours.items() if colours == _LEFT]


def ahead_behind(look: Look, ours: bytes, theirs: bytes) -> tuple[int, int]:
    """Return how many commits each side has that the other has not."""
    walk = _Walk(look, interesting={_LEFT, _RIGHT})
    walk.start([ours], [theirs])
    found = list(walk.colours.values())
    return found.count(_LEFT), found.count(_RIGHT)


class _Walk:
    """Colours commits from two sides, newest first, until no interesting colour can change any more.

    A colour that reaches a commit late is carried on to its parents again.
    """

    def __init__(self, look: Look, interesting: set[int]) -> None:
        self.colours: dict[bytes, int] = {}
        self._look = look
        self._interesting = interesting
        self._nodes: dict[bytes, Node] = {}
        self._queue: list[tuple[int, bytes]] = []
        self._queued: set[bytes] = set()
        self._open = 0
        """How many in the queue have an interesting colour."""
        self._oldest: int | None = None
        """The oldest commit that had an interesting colour: something younger may still colour it."""

    def start(self, left: Iterable[bytes], right: Iterable[bytes]) -> None:
        for sha in left:
            self._colour(sha, _LEFT)
        for sha in right:
            self._colour(sha, _RIGHT)
        while self._queue and (self._open or (self._oldest is not None and -self._queue[0][0] >= self._oldest)):
            _, sha = heapq.heappop(self._queue)
            self._queued.discard(sha)
            self._open -= self.colours[sha] in self._interesting
            for parent in self._nodes[sha].parents:
                self._colour(parent, self.colours[sha])

    def _colour(self, sha: bytes, colour: int) -> None:
        before = self.colours.get(sha, 0)
        after = before | colour
        if after == before:
            return
        self.colours[sha] = after
        node = self._nodes.get(sha)
        if node is None:
            node = self._nodes[sha] = self._look(sha)
        if sha in self._queued:
            self._open -= before in self._interesting
        else:
            self._queued.add(sha)
            heapq.heappush(self._queue, (-node.time, sha))
        if after in self._interesting:
            self._open += 1
            self._oldest = node.time if self._oldest is None else min(self._oldest, node.time)


def looking_in(repo: Repo) -> Look:
    """Return the look-up for a repository; shallow history ends where it was cut."""

    def look(sha: bytes) -> Node:
        try:
            commit = repo.object_store[ObjectID(sha)]
        except KeyError as error:
            raise GitError(
                f"the commit {sha.decode()} is not in the repository", hint="`git fsck` tells what is missing"
            ) from error
        if not isinstance(commit, Commit):
            raise GitError(f"{sha.decode()} is a {commit.type_name.decode()}, not a commit")
        return Node(commit.commit_time, tuple(repo.get_parents(ObjectID(sha), commit)))

    return look


def subject(repo: Repo, sha: bytes) -> str:
    """Return a commit's abbreviated id and the first line of its message."""
    commit = repo.object_store[ObjectID(sha)]
    message = commit.message if isinstance(commit, Commit) else b""
    first = message.strip().split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
    return f"{sha[:10].decode()} {first}"
