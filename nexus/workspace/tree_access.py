"""The way from the event loop to a work tree: opened for one step in a worker thread, closed after it."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread

from nexus.models.files import FileInfo, FileKind
from nexus.workspace.beneath import Tree, open_tree
from nexus.workspace.files_read import list_names, look_at_all
from nexus.workspace.path_errors import told

T = TypeVar("T")

Descend = Callable[[tuple[bytes, ...]], bool]

_BATCH: Final = 500
"""Entries that one step of a walk looks at: enough to make the hop to a thread cheap, few enough to come soon."""


@dataclass(frozen=True, slots=True)
class TreeAccess:
    """Where a tree is. Holds nothing open."""

    root: Path
    aliases: tuple[str, ...]

    async def do(self, path: str, work: Callable[[Tree], T], *others: str) -> T:
        """Do one piece of work on the open tree.

        Args:
            path: What it is about, for errors.
            work: The work; it runs in a thread and may block.
            others: Further paths it is about.

        Raises:
            WorkspaceGone: When the tree is not there.
            FsError: For every error of the system.

        Cancellation: waits for the work.
        """

        def opened() -> T:
            with told(path, *others), open_tree(self.root, self.aliases) as tree:
                return work(tree)

        return await anyio.to_thread.run_sync(opened)

    async def take(self, path: str, work: Callable[[Tree], T], *, close: Callable[[T], None]) -> T:
        """Do one piece of work whose outcome somebody has to close; otherwise as :meth:`do`.

        Cancellation: what the work made is closed, even when asyncio's own cancellation comes before the thread has ended.
        """
        turn = threading.Lock()
        made: list[T] = []
        given_up: list[bool] = []

        def taken(tree: Tree) -> None:
            value = work(tree)
            with turn:
                if not given_up:
                    made.append(value)
                    return
            close(value)

        try:
            await self.do(path, taken)
        except BaseException:
            with turn:
                given_up.append(True)
            for value in made:
                close(value)
            raise
        return made[0]

    async def walk(
        self, start: str, *, descend: Descend, hidden: bool = True
    ) -> AsyncGenerator[tuple[tuple[bytes, ...], FileInfo], None]:
        """Give everything below a folder, folder after folder, each entry with its path from there.

        Nothing stays open between two steps, so a walk that is dropped leaves nothing behind.

        Args:
            start: The folder.
            descend: Told of each folder; says whether to go into it.
            hidden: Whether names that begin with a dot count.
        """
        waiting: list[tuple[bytes, ...]] = [()]
        while waiting:
            below = waiting.pop()
            names = await self.do(start, partial(_names, start, below))
            if not hidden:
                names = [name for name in names if not name.startswith(b".")]
            inner: list[tuple[bytes, ...]] = []
            for at in range(0, len(names), _BATCH):
                for info in await self.do(start, partial(_infos, start, below, names[at : at + _BATCH])):
                    path = (*below, os.fsencode(info.name))
                    if info.kind is FileKind.DIRECTORY and descend(path):
                        inner.append(path)
                    yield path, info
            waiting += reversed(inner)


def _names(start: str, below: Sequence[bytes], tree: Tree) -> list[bytes]:
    return list_names(tree, start, below)


def _infos(start: str, below: Sequence[bytes], names: Sequence[bytes], tree: Tree) -> list[FileInfo]:
    return look_at_all(tree, start, below, names)
