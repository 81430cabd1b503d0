"""Files that are on the disk before it is time for them, and take their places at once when it is.

Writing a file so that it outlives a power cut takes milliseconds, most of them the disk's. Whoever knows what he will have to write
down when something else is done has it written meanwhile; what is left for the end is a rename.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nexus.state.files import Unplaced, hurry, open_folder, translated, write_aside
from nexus.state.threads import run_whole


class DraftFile(NamedTuple):
    """One file: where it belongs, and all of its content."""

    root: Path
    folders: tuple[str, ...]
    """Names below ``root``, one folder each."""
    name: str
    data: bytes

    @property
    def path(self) -> Path:
        """Where it belongs."""
        return self.root.joinpath(*self.folders, self.name)


class Draft:
    """Files that wait for their moment. For one task at a time; :meth:`drop` has to be called in the end, whatever has happened.

    A process that is killed leaves temporary files beside the places, which are swept like those of any killed writer.

    Args:
        files: What is written; asked for on the thread that writes. They take their places in this order.
    """

    def __init__(self, files: Iterable[DraftFile]) -> None:
        self._files = files
        self._aside: list[tuple[DraftFile, int, Unplaced]] = []
        self._folders = ExitStack()
        self.placed: bool = False
        """Whether all of them have taken their places, and that is on the disk."""

    async def write(self, before: Callable[[], None] | None = None) -> None:
        """Write them aside. Returns when their content is on the disk; what is in their places is as it was.

        Args:
            before: Something short that blocks, to be done first on the same visit to a thread.

        Raises:
            StateError: When that cannot be done.
        """
        await run_whole(partial(self._write, before))

    async def drop(self) -> None:
        """Remove what has not taken its place. Twice is fine."""
        if self._aside:
            await run_whole(self._drop)
        self._folders.close()

    def _write(self, before: Callable[[], None] | None) -> None:
        if before is not None:
            before()
        opened: dict[tuple[Path, tuple[str, ...]], int] = {}
        for file in self._files:
            with translated(f"write {file.name} ({len(file.data)} bytes)", file.path):
                key = file.root, file.folders
                if key not in opened:
                    opened[key] = self._folders.enter_context(open_folder(file.root, *file.folders, create=True))
                aside = write_aside(opened[key], file.name, file.data, durable=False)
                self._aside.append((file, opened[key], aside))
        # All are on their way before the first is waited for: the disk is asked once, not for each.
        for _, _, aside in self._aside:
            hurry(aside.handle)
        for file, _, aside in self._aside:
            with translated(f"write {file.name} ({len(file.data)} bytes)", file.path):
                os.fsync(aside.handle)

    def place(self) -> None:
        """Have them take their places. Returns when that is on the disk. Blocks.

        Raises:
            StateError: When one cannot; those before it have.
        """
        changed: dict[int, Path] = {}
        while self._aside:
            file, folder, aside = self._aside[0]
            with translated(f"write {file.name}", file.path):
                aside.place(folder, file.name)
            changed[folder] = file.path
            del self._aside[0]
        for folder, path in changed.items():
            with translated(f"write {path.name}", path):
                os.fsync(folder)
        self.placed = True

    def _drop(self) -> None:
        while self._aside:
            _, folder, unplaced = self._aside.pop()
            with suppress(OSError):
                unplaced.discard(folder)
