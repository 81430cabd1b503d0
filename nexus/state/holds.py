"""Holds on disk: one small file each, so that two who renew at the same time never meet."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread
from pydantic import ValidationError

from nexus.models.activity import Hold
from nexus.models.ids import WorkspaceId
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_atomic
from nexus.state.threads import run_whole

_SUFFIX: Final = ".json"
_MAX_BYTES: Final = 16 * 1024
_MAX_HOLDS: Final = 1000
_SAFE: Final = re.compile(r"[0-9a-f-]{36}", re.ASCII)


class HoldStore:
    """The holds of one repository's workspaces: ``<root>/state/holds/<workspace id>/<name>.json``.

    The constructor only stores. A file that is not one of ours is passed over: a clone may bring what it likes, but it cannot
    know the id of a workspace that is made later.

    Args:
        root: ``<repository>/.nexus``. Made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root: Path = root

    async def save(self, hold: Hold) -> None:
        """Store a hold in place of the former one of that name.

        Raises:
            StateError: When it cannot be written. The former one is intact.

        Cancellation:
            The former one or the new one is on the disk, whole.
        """
        await run_whole(partial(self._save, hold))

    async def load(self, workspace: WorkspaceId) -> tuple[Hold, ...]:
        """Return a workspace's holds by name, those that have ended as well.

        Raises:
            StateError: When the folder is not usable.
        """
        return await to_thread.run_sync(self._load, workspace)

    async def delete(self, workspace: WorkspaceId, name: str) -> bool:
        """Remove a hold; return whether it was there.

        Raises:
            StateError: When it cannot be removed.
        """
        return await run_whole(partial(self._delete, workspace, name))

    async def clear(self, workspace: WorkspaceId) -> None:
        """Remove all holds of a workspace. None there: nothing.

        Raises:
            StateError: When one cannot be removed.
        """
        await run_whole(partial(self._clear, workspace))

    def _parts(self, workspace: str) -> tuple[str, ...]:
        if not _SAFE.fullmatch(workspace):
            msg = f"{workspace!r} is no workspace id"
            raise ValueError(msg)
        return ("state", "holds", workspace)

    def _save(self, hold: Hold) -> None:
        parts = self._parts(hold.workspace)
        with (
            translated(f"keep the hold {hold.name!r}", self.root.joinpath(*parts)),
            open_folder(self.root, *parts, create=True) as folder,
        ):
            write_atomic(folder, f"{hold.name}{_SUFFIX}", hold.model_dump_json().encode() + b"\n")

    def _load(self, workspace: WorkspaceId) -> tuple[Hold, ...]:
        parts = self._parts(workspace)
        found: list[Hold] = []
        try:
            with open_folder(self.root, *parts) as folder, translated("list the holds", self.root):
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
                sweep(folder, names)
                for name in names[:_MAX_HOLDS]:
                    if name.endswith(_SUFFIX) and not name.startswith("."):
                        found += _read(folder, workspace, name)
        except FileNotFoundError:
            return ()
        return tuple(found)

    def _delete(self, workspace: WorkspaceId, name: str) -> bool:
        parts = self._parts(workspace)
        try:
            with open_folder(self.root, *parts) as folder, translated(f"let go of the hold {name!r}", self.root):
                return remove(folder, f"{name}{_SUFFIX}")
        except FileNotFoundError:
            return False

    def _clear(self, workspace: WorkspaceId) -> None:
        *above, own = self._parts(workspace)
        try:
            with open_folder(self.root, *above, own) as folder, translated("let go of the holds", self.root):
                for name in os.listdir(folder):  # noqa: PTH208 - a descriptor, not a path
                    remove(folder, name)
            with open_folder(self.root, *above) as folder, translated("let go of the holds", self.root):
                os.rmdir(own, dir_fd=folder)
        except FileNotFoundError:
            return


def _read(folder: int, workspace: WorkspaceId, name: str) -> list[Hold]:
    try:
        hold = Hold.model_validate_json(read_small(folder, name, _MAX_BYTES))
    except (FileNotFoundError, UnfitFile, ValidationError):
        return []
    honest = hold.workspace == workspace and f"{hold.name}{_SUFFIX}" == name and hold.renewed_at.tzinfo is not None
    return [hold] if honest else []
