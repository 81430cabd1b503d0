"""Watching a tree that is reached by commands alone: it is listed again and again."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import anyio

from nexus.errors import FsError, InvalidArgument
from nexus.handles.glob_pattern import Exclusion
from nexus.models.files import FileChange, FileKind, WatchBatch, WatchMode
from nexus.workspace.beneath import GIT_POINTER
from nexus.workspace.command_place import Entry
from nexus.workspace.file_changes import Changes
from nexus.workspace.files_watch import Wish
from nexus.workspace.replacing import is_temporary

if TYPE_CHECKING:
    from nexus.workspace.files_by_command import FilesByCommand

_SHORTEST: Final = 2.0
_SHARE: Final = 10
"""Looking takes at most this part of the time."""
_NOTICE: Final = "this backend does not tell what changes, so the tree is listed again and again"

_Picture = dict[str, tuple[FileKind, int, str]]


class ListedWatch:
    """What changes between two listings.

    Args:
        files: The tree.
        path: The folder, or a single file.
        recursive: Whether what is below its folders counts.
        exclude: What is left out.
        notice: Why it is not the kernel that tells.
    """

    def __init__(
        self, files: FilesByCommand, path: str, *, recursive: bool, exclude: Exclusion, notice: str | None
    ) -> None:
        self._files = files
        self._path = path
        self._recursive = recursive
        self._exclude = exclude
        self._notice = notice
        self._interval = _SHORTEST
        self._picture: _Picture = {}
        self._changes = Changes()

    @property
    def mode(self) -> WatchMode:
        """How changes are learned of."""
        return WatchMode.POLL

    @property
    def notice(self) -> str | None:
        """Why it is not the kernel that tells."""
        return self._notice

    async def begin(self) -> None:
        """Look for the first time."""
        self._picture = await self._look()

    async def receive(self) -> WatchBatch:
        """Wait for the next batch.

        Raises:
            PathNotFound: When what is watched is gone.
            WorkspaceGone: When the tree is.
        """
        while True:
            batch = self._changes.take()
            if batch is not None:
                return batch
            await anyio.sleep(self._interval)
            now = await self._look()
            for path in self._picture.keys() - now.keys():
                self._changes.add(FileChange.DELETED, path)
            for path, seen in now.items():
                if path not in self._picture:
                    self._changes.add(FileChange.CREATED, path)
                elif self._picture[path] != seen:
                    self._changes.add(FileChange.CHANGED, path)
            self._picture = now

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self.receive()

    async def _look(self) -> _Picture:
        begun = time.monotonic()
        info = await self._files.stat(self._path)
        if info.kind is not FileKind.DIRECTORY:
            return {info.path: (info.kind, info.mode, info.etag)}
        entries = await self._files.list_below(self._path, deep=self._recursive)
        self._interval = max(_SHORTEST, _SHARE * (time.monotonic() - begun))
        left_out: set[tuple[bytes, ...]] = set()
        picture: _Picture = {}
        for entry in entries:
            if entry.below[:-1] in left_out or not self._covers(entry):
                left_out.add(entry.below)
                continue
            folder = entry.info.kind is FileKind.DIRECTORY
            picture[entry.info.path] = (entry.info.kind, entry.info.mode, "" if folder else entry.info.etag)
        return picture

    def _covers(self, entry: Entry) -> bool:
        name = entry.below[-1]
        if name.lower() == GIT_POINTER or is_temporary(name):
            return False
        return tuple(part.decode("utf-8", "surrogateescape") for part in entry.below) not in self._exclude


@asynccontextmanager
async def watch(
    files: FilesByCommand, path: str, *, recursive: bool, exclude: Exclusion, mode: Wish
) -> AsyncGenerator[ListedWatch, None]:
    """Watch a folder or a file for as long as the block lasts."""
    if mode not in {"auto", "native", "poll"}:
        raise InvalidArgument(f"a watch is 'auto', 'native' or 'poll', not {mode!r}")
    if mode == "native":
        raise FsError(_NOTICE, path=path, hint="use mode='auto'")
    made = ListedWatch(files, path, recursive=recursive, exclude=exclude, notice=None if mode == "poll" else _NOTICE)
    await made.begin()
    yield made
