"""What is known of destroyed workspaces, so that they can be listed and restored: one small file each."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from pydantic import ValidationError

from nexus.models.ids import parse_name
from nexus.models.rescues import DestroyedWorkspace
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_atomic
from nexus.state.threads import run_whole

_FOLDER: Final = ("state", "destroyed")
_SUFFIX: Final = ".json"
_MAX_BYTES: Final = 1 << 20


class DestroyedStore:
    """The destroyed workspaces of one repository: ``<root>/state/destroyed/<name>-<id8>.json``.

    The constructor only stores. A file that cannot be understood is passed over and left: it is no work, only a note of it.

    Args:
        root: ``<repository>/.nexus``. Made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path = root

    async def save(self, entry: DestroyedWorkspace) -> None:
        """Store an entry in place of the former one of that workspace.

        Raises:
            StateError: When it cannot be written. The former entry is intact.

        Cancellation:
            The former entry or the new one is on the disk, whole.
        """
        await run_whole(partial(self._save, entry))

    async def load_all(self) -> tuple[DestroyedWorkspace, ...]:
        """Return every entry, the newest first.

        Raises:
            StateError: When the folder itself is not usable.

        Cancellation:
            Nothing is changed by this call, except that files left by killed writers may have been removed.
        """
        return await to_thread.run_sync(self._load_all)

    async def delete(self, entry: DestroyedWorkspace) -> None:
        """Remove an entry. None there: nothing.

        Raises:
            StateError: When it cannot be removed.

        Cancellation:
            The entry is there or gone.
        """
        await run_whole(partial(self._delete, entry))

    def path(self, entry: DestroyedWorkspace) -> Path:
        """Return the file that holds, or would hold, an entry."""
        return self.root.joinpath(*_FOLDER, f"{parse_name(entry.name)}-{entry.id[:8]}{_SUFFIX}")

    def _save(self, entry: DestroyedWorkspace) -> None:
        path = self.path(entry)
        with (
            translated(f"note that workspace {entry.name!r} was destroyed", path),
            open_folder(self.root, *_FOLDER, create=True) as folder,
        ):
            write_atomic(folder, path.name, entry.model_dump_json(indent=2).encode() + b"\n")

    def _load_all(self) -> tuple[DestroyedWorkspace, ...]:
        found: list[DestroyedWorkspace] = []
        try:
            with open_folder(self.root, *_FOLDER) as folder, translated("list what was destroyed", self.root):
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
                sweep(folder, names)
                for name in names:
                    if name.endswith(_SUFFIX) and not name.startswith("."):
                        found += self._read(folder, name)
        except FileNotFoundError:
            return ()
        return tuple(sorted(found, key=lambda entry: entry.destroyed_at, reverse=True))

    def _read(self, folder: int, name: str) -> list[DestroyedWorkspace]:
        try:
            entry = DestroyedWorkspace.model_validate_json(read_small(folder, name, _MAX_BYTES))
        except (FileNotFoundError, UnfitFile, ValidationError):
            return []
        # A clone may bring a file of its own making: its name must be the one that we would have given it.
        return [entry] if self.path(entry).name == name and entry.destroyed_at.tzinfo is not None else []

    def _delete(self, entry: DestroyedWorkspace) -> None:
        path = self.path(entry)
        try:
            with open_folder(self.root, *_FOLDER) as folder, translated("forget a destroyed workspace", path):
                remove(folder, path.name)
        except FileNotFoundError:
            return
