"""Running the file script where a workspace runs, and reading what it says."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import anyio

from nexus.abc import ProcessHandle
from nexus.errors import (
    ContentModified,
    FsError,
    InvalidArgument,
    NexusError,
    PathDenied,
    PathEscape,
    Unsupported,
    WorkspaceGone,
)
from nexus.models.execution import Exited, Output, SpawnRequest, Stream
from nexus.models.files import Etag, FileInfo
from nexus.workspace import command_script as script
from nexus.workspace.files_read import kind_of, named, not_a_file
from nexus.workspace.path_errors import from_os

Spawn = Callable[[SpawnRequest], Awaitable[ProcessHandle]]

_LARGEST_ANSWER: Final = 64 << 20
_MAX_PATH: Final = 4096
_PATIENCE: Final = 120.0
"""Seconds that one step may take."""


class Said(NamedTuple):
    """What one run of the script came to."""

    out: bytes
    status: int


class Entry(NamedTuple):
    """Something in a folder, by its path from there."""

    below: tuple[bytes, ...]
    info: FileInfo


_NO_PROGRAM: Final = frozenset({126, 127})
_WORDS: Final[Mapping[int, tuple[type[FsError], str, str | None]]] = {
    script.ESCAPE: (PathEscape, "{} leaves the workspace", None),
    script.MODIFIED: (ContentModified, "{} has changed since it was read", "read it again and redo the change"),
    script.OF_GIT: (
        PathDenied,
        "{} belongs to git and cannot be changed through the workspace's files",
        "use git inside the workspace",
    ),
    script.FIXED: (PathDenied, "{} is a folder that cannot be moved, replaced or removed", None),
}


@dataclass(frozen=True, slots=True)
class CommandPlace:
    """A work tree that is reached by commands alone."""

    spawn: Spawn
    root: str
    """The tree, as programs inside name it."""
    aliases: tuple[str, ...] = ()

    def parts(self, path: str) -> tuple[bytes, ...]:
        """Return the components of a path, relative to the root.

        Raises:
            InvalidArgument: When it is empty, holds a NUL character, or is longer than any path.
            PathEscape: When it is absolute and not inside.
        """
        try:
            raw = os.fsencode(path)
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"{path!r} cannot be a file name") from error
        if not raw or b"\0" in raw or len(raw) > _MAX_PATH:
            raise InvalidArgument(f"{path[:80]!r} is no path: it is empty, too long or holds a NUL character")
        if raw.startswith(b"/"):
            prefixes = (os.fsencode(one).rstrip(b"/") for one in (self.root, *self.aliases))
            found = next((one for one in prefixes if raw == one or raw.startswith(one + b"/")), None)
            if found is None:
                raise PathEscape(
                    f"{path} is not in the workspace", path=path, hint="give a path relative to the workspace's root"
                )
            raw = raw[len(found) :]
        return tuple(part for part in raw.split(b"/") if part not in {b"", b"."})

    def shown(self, path: str) -> str:
        """Return a path as it is told."""
        return named(self.parts(path))

    async def ask(self, op: str, path: str, *args: str, token: str | None = None) -> bytes:
        """Run one step and return what it printed.

        Raises:
            FsError: As the step says.
            WorkspaceGone: When the tree is not there.

        Cancellation: the step is ended; what it did by then stays.
        """
        async with self.running(op, path, *args, token=token) as process:
            said = await finished(process)
        self.check(said.status, path, args)
        return said.out

    @asynccontextmanager
    async def running(
        self, op: str, path: str, *args: str, token: str | None = None, stdin: bool = False
    ) -> AsyncGenerator[ProcessHandle, None]:
        """Start a step; it is ended when the block is left."""
        relative = os.fsdecode(b"/".join(self.parts(path))) or "."
        argv = ("sh", "-c", script.SCRIPT, "nexus-files", op, self.root, token or new_token(), relative, *args)
        process = await self.spawn(SpawnRequest(argv=argv, stdin=stdin, keeps_awake=False))
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                await process.aclose()

    def check(self, status: int, path: str, others: Sequence[str] = ()) -> None:
        """Raise what a step's status means; nothing for success."""
        if status:
            raise self._error(status, path, others)

    def _error(self, status: int, path: str, others: Sequence[str]) -> NexusError:
        number = script.NUMBERS.get(status)
        if number is not None:
            return from_os(OSError(number, os.strerror(number)), path)
        if status == script.NOT_A_FILE:
            return not_a_file(path, 0)
        if status == script.INTO_ITSELF:
            return InvalidArgument(f"{path} cannot be put into itself ({', '.join(others[:1])})")
        if status == script.GONE:
            return WorkspaceGone(
                f"the work tree {self.root} is not there",
                hint="look at the workspace's state",
                details={"path": self.root},
            )
        if status in _NO_PROGRAM:
            return Unsupported(
                "the workspace has no shell, or lacks a program that reading files by commands needs",
                hint="have sh, stat, find and readlink in the image",
                details={"capability": "files", "provider": None},
            )
        kind, sentence, hint = _WORDS.get(status, (FsError, f"{{}}: the step inside ended with status {status}", None))
        return kind(sentence.format(path), path=path, hint=hint)


def new_token() -> str:
    """Return what tells one run's own words from names that files have: nobody can guess it. Fits the name of a draft."""
    return secrets.token_hex(12)


async def finished(process: ProcessHandle) -> Said:
    """Take everything that a step prints, and its status.

    Raises:
        FsError: When it prints without end, or does not end.
    """
    out = bytearray()
    with anyio.move_on_after(_PATIENCE):
        while True:
            event = await process.receive()
            if isinstance(event, Output) and event.stream is Stream.STDOUT:
                out += event.data
                if len(out) > _LARGEST_ANSWER:
                    raise FsError("there is too much to be told at once", path=".", hint="ask about smaller parts")
            elif isinstance(event, Exited):
                return Said(bytes(out), event.exit_code if event.exit_code is not None else 87)
    raise FsError(f"a step inside did not end within {_PATIENCE:g} s", path=".")


def parse_info(path: str, line: bytes, target: str | None = None) -> FileInfo:
    """Return what a line of ``stat`` says about a path."""
    mode, size, inode, seconds, precise = line.rstrip(b"\n").split(b"|", 4)
    bits = int(mode, 16)
    text = f"{int(inode)}:{int(size)}:{int(seconds)}:{precise.decode('ascii', 'replace')}"
    return FileInfo(
        path=path,
        kind=kind_of(bits),
        size=int(size),
        mtime=float(int(seconds)),
        mode=bits & 0o7777,
        etag=Etag(text),
        target=target,
    )


def parse_list(shown: Sequence[bytes], out: bytes, token: str) -> list[Entry]:
    """Return the entries that a listing holds, by folder and name.

    Args:
        shown: The folder's path from the root.
        out: What the script printed.
        token: The run's token.

    Raises:
        FsError: When the listing is not whole.
    """
    mark = token.encode() + b"|"
    files, found, rest = out.partition(mark + b"links")
    if not found or not rest.endswith(mark + b"end"):
        raise FsError("the listing of a folder ended too soon", path=named(shown))
    links = (piece.partition(b"|" + token.encode()) for piece in rest.split(mark)[1:-1])
    targets = {name: target for name, _, target in links}
    entries: list[Entry] = []
    for record in files.split(mark)[1:]:
        *fields, name = record.removesuffix(b"\n").split(b"|", 5)
        below = tuple(name.removeprefix(b"./").split(b"/"))
        if {b"", b".", b".."} & set(below):
            # What prints this is the image's own program: a path that leads elsewhere must not be taken for one below.
            raise FsError(f"the listing of a folder holds the path {os.fsdecode(name)!r}", path=named(shown))
        target = targets.get(name)
        told = None if target is None else os.fsdecode(target)
        entries.append(Entry(below, parse_info(named((*shown, *below)), b"|".join(fields), told)))
    return sorted(entries, key=lambda entry: (entry.below[:-1], entry.below[-1]))
