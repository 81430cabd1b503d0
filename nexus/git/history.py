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
_BOTH: Final = 3


def only_left(look: Look, left: Iterable[bytes], right: Iterable[bytes]) -> list[bytes]:
    """Return the commits that are reachable from ``left`` and not from ``right``, newest first.

    Where clocks were wrong a commit of both may be returned too; one that only ``left`` has is never left out.
    """
    return [sha for sha, flags in _paint(look, left, right, stop_at=_LEFT).items() if flags == _LEFT]


def ahead_behind(look: Look, ours: bytes, theirs: bytes) -> tuple[int, int]:
    """Return how many commits each side has that the other has not."""
    flags = list(_paint(look, [ours], [theirs], stop_at=None).values())
    return flags.count(_LEFT), flags.count(_RIGHT)


def _paint(look: Look, left: Iterable[bytes], right: Iterable[bytes], *, stop_at: int | None) -> dict[bytes, int]:
    """Colour commits from both sides, newest first, until the rest can only have both colours.

    A colour that reaches a commit late is carried on to its parents again, so wrong clocks cost time and no correctness on
    what was seen.
    """
    flags: dict[bytes, int] = {}
    queue: list[tuple[int, bytes]] = []
    nodes: dict[bytes, Node] = {}
    open_count = 0

    def is_open(colour: int) -> bool:
        return colour != _BOTH if stop_at is None else colour == stop_at

    def push(sha: bytes, colour: int) -> None:
        nonlocal open_count
        before = flags.get(sha, 0)
        after = before | colour
        if after == before:
            return
        flags[sha] = after
        if sha not in nodes:
            nodes[sha] = look(sha)
        waiting = sha in queued
        if waiting:
            open_count += is_open(after) - is_open(before)
        else:
            queued.add(sha)
            open_count += is_open(after)
            heapq.heappush(queue, (-nodes[sha].time, sha))

    queued: set[bytes] = set()
    for tips, colour in ((left, _LEFT), (right, _RIGHT)):
        for tip in tips:
            push(tip, colour)
    while queue and open_count:
        _, sha = heapq.heappop(queue)
        queued.discard(sha)
        open_count -= is_open(flags[sha])
        for parent in nodes[sha].parents:
            push(parent, flags[sha])
    return flags


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
