"""What is known of checkpoints: one small file each, in a folder for each workspace."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from pydantic import ValidationError

from nexus.errors import InvalidName
from nexus.models.checkpoints import CheckpointEntry
from nexus.models.ids import WorkspaceName, parse_name
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_atomic
from nexus.state.threads import run_whole

_FOLDER: Final = ("state", "checkpoints")
_SUFFIX: Final = ".json"
_MAX_BYTES: Final = 8 << 20


class CheckpointStore:
    """The checkpoints of one repository: ``<root>/state/checkpoints/<workspace>/<id>.json``.

    The constructor only stores. A file that cannot be understood is passed over and left: the ref and the labels of what it
    spoke of are still found.

    Args:
        root: ``<repository>/.nexus``. Made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path = root

    async def save(self, entry: CheckpointEntry) -> None:
        """Store an entry: from here on the checkpoint exists.

        Raises:
            StateError: When it cannot be written.

        Cancellation:
            It is on the disk, whole, or not at all.
        """
        await run_whole(partial(self._save, entry))

    async def load(self, workspace: str) -> tuple[CheckpointEntry, ...]:
        """Return the checkpoints of one workspace, the newest first.

        Raises:
            InvalidName: When it is no workspace name.
            StateError: When the folder itself is not usable.
        """
        return await to_thread.run_sync(self._load, parse_name(workspace))

    async def load_all(self) -> tuple[CheckpointEntry, ...]:
        """Return those of all workspaces, the newest first.

        Raises:
            StateError: When the folder itself is not usable.
        """
        return await to_thread.run_sync(self._load_all)

    async def delete(self, entry: CheckpointEntry) -> None:
        """Remove an entry. None there: nothing.

        Raises:
            StateError: When it cannot be removed.

        Cancellation:
            The entry is there or gone.
        """
        await run_whole(partial(self._delete, entry))

    def path(self, entry: CheckpointEntry) -> Path:
        """Return the file that holds, or would hold, an entry."""
        checkpoint = entry.checkpoint
        return self.root.joinpath(*_FOLDER, parse_name(checkpoint.workspace_name), f"{checkpoint.id}{_SUFFIX}")

    def _save(self, entry: CheckpointEntry) -> None:
        path = self.path(entry)
        with (
            translated(f"note a checkpoint of workspace {entry.checkpoint.workspace_name!r}", path),
            open_folder(self.root, *_FOLDER, path.parent.name, create=True) as folder,
        ):
            write_atomic(folder, path.name, entry.model_dump_json(indent=2).encode() + b"\n")

    def _load_all(self) -> tuple[CheckpointEntry, ...]:
        try:
            with open_folder(self.root, *_FOLDER) as folder, translated("list the checkpoints", self.root):
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
        except FileNotFoundError:
            return ()
        found: list[CheckpointEntry] = []
        for name in names:
            with suppress(InvalidName):
                found += self._load(parse_name(name))
        return _newest_first(found)

    def _load(self, workspace: WorkspaceName) -> tuple[CheckpointEntry, ...]:
        found: list[CheckpointEntry] = []
        try:
            with (
                open_folder(self.root, *_FOLDER, workspace) as folder,
                translated(f"list the checkpoints of workspace {workspace!r}", self.root),
            ):
                names = sorted(os.listdir(folder))  # noqa: PTH208
                sweep(folder, names)
                for name in names:
                    if name.endswith(_SUFFIX) and not name.startswith("."):
                        found += self._read(folder, workspace, name)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return _newest_first(found)

    def _read(self, folder: int, workspace: str, name: str) -> list[CheckpointEntry]:
        try:
            entry = CheckpointEntry.model_validate_json(read_small(folder, name, _MAX_BYTES))
        except (FileNotFoundError, UnfitFile, ValidationError):
            return []
        checkpoint, record = entry.checkpoint, entry.record
        # A clone may bring a file of its own making: it must be where we would have put it, and speak of one workspace alone.
        ours = (
            self.path(entry).name == name
            and checkpoint.workspace_name == record.name == workspace
            and checkpoint.workspace == record.id
            and checkpoint.created_at.tzinfo is not None
        )
        return [entry] if ours else []

    def _delete(self, entry: CheckpointEntry) -> None:
        path = self.path(entry)
        try:
            with open_folder(self.root, *_FOLDER, path.parent.name) as folder, translated("forget a checkpoint", path):
                remove(folder, path.name)
        except FileNotFoundError:
            return
        with suppress(OSError):
            path.parent.rmdir()


def _newest_first(entries: list[CheckpointEntry]) -> tuple[CheckpointEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.checkpoint.created_at, reverse=True))
