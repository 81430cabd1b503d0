"""Workspace records on disk: one readable JSON file each, replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from anyio import to_thread

from nexus.errors import InvalidName, RecordDamaged, StateError, WorkspaceNotFound
from nexus.models.ids import WorkspaceName, parse_name
from nexus.models.workspace import DamagedRecord, WorkspaceRecord
from nexus.state.drafts import Draft, DraftFile
from nexus.state.files import UnfitFile, open_folder, read_small, remove, sweep, translated, write_atomic
from nexus.state.memory import Remembered, settled_identity
from nexus.state.migrations import MIGRATIONS, Step
from nexus.state.records import MAX_RECORD_BYTES, UnreadableRecord, decode_record, encode_record, name_problem
from nexus.state.threads import run_whole

Listing: TypeAlias = tuple[tuple[WorkspaceRecord, ...], tuple[DamagedRecord, ...]]
_RECORDS: Final = ("state", "workspaces")
_SUFFIX: Final = ".json"
_CURRENT: Final = "current"
_MAX_CURRENT_BYTES: Final = 1024


class FileStateStore:
    """The records of one repository, in ``<root>/state/workspaces/<name>.json``, and its current workspace in ``<root>/current``.

    The constructor only stores. Files are for their owner only (0600, folders 0700). No folder on the way and no record may be a
    symbolic link: a clone could carry one. Calls of several processes may overlap; who may change a record is decided by locks
    above this class.

    Args:
        root: ``<repository>/.nexus``. Made on the first write.
        migrations: Steps for records of an older schema, by the version that they start from.
    """

    def __init__(self, root: Path, *, migrations: Mapping[int, Step] = MIGRATIONS) -> None:
        self.root: Path = root
        self._migrations = migrations
        self._remembered = Remembered()

    def path(self, name: str) -> Path:
        """Return the file that holds, or would hold, the record of ``name``."""
        return self.root.joinpath(*_RECORDS, name + _SUFFIX)

    async def load(self, name: str) -> WorkspaceRecord:
        """Return one record.

        Raises:
            InvalidName: When no workspace can have this name.
            WorkspaceNotFound: When there is no such record.
            RecordDamaged: When the file cannot be understood; ``details`` holds ``name``, ``path`` and ``reason``.
            StateError: When the folder is not usable.

        Cancellation:
            Nothing is changed by this call.
        """
        return await to_thread.run_sync(self.read, name)

    async def load_all(self) -> Listing:
        """Return all records and all damaged ones, each by name. A damaged file never fails the call.

        Raises:
            StateError: When the folder itself is not usable.

        Cancellation:
            Nothing is changed by this call, except that files left by killed writers may have been removed.
        """
        return await to_thread.run_sync(self._load_all)

    async def names(self) -> frozenset[str]:
        """Return the names that have a record, readable or not, without reading any.

        Raises:
            StateError: When the folder is not usable.
        """
        return await to_thread.run_sync(self._names)

    async def save(self, record: WorkspaceRecord) -> None:
        """Store a record in place of the former one of that name.

        Raises:
            StateError: When it cannot be written (``details`` holds the free space when the disk is full). The former record is intact.

        Cancellation:
            The former record or the new one is on the disk, whole.
        """
        await run_whole(partial(self.write, record))

    def draft(self, *records: WorkspaceRecord, current: str) -> Draft:
        """Return a draft of records that are to replace the former ones of their names, with ``current`` as the current workspace.

        Raises:
            InvalidName: When no workspace can have this name.
        """
        name = parse_name(current)

        def files() -> Iterator[DraftFile]:
            for record in records:
                yield DraftFile(self.root, _RECORDS, record.name + _SUFFIX, self._encoded(record))
            yield DraftFile(self.root, (), _CURRENT, _current_text(name))

        return Draft(files())

    async def delete(self, name: str) -> None:
        """Remove a record, damaged or not. None there: nothing.

        Raises:
            InvalidName: When the name could lead out of the folder.
            StateError: When it cannot be removed.

        Cancellation:
            The record is there or gone.
        """
        if name != Path(name).name or name_is_special(name):
            raise InvalidName(f"{name!r} is not a workspace name")
        await run_whole(partial(self._delete, name))

    async def current(self) -> WorkspaceName | None:
        """Return the name in ``<root>/current``; ``None`` when there is no such file or it holds no name."""
        return await to_thread.run_sync(self.read_current)

    async def set_current(self, name: str | None) -> None:
        """Make ``name`` the current workspace, or none.

        Raises:
            InvalidName: When no workspace can have this name.
            StateError: When it cannot be written. The former one is intact.

        Cancellation:
            The former name or the new one is on the disk.
        """
        await run_whole(partial(self._set_current, None if name is None else parse_name(name)))

    def read(self, name: str) -> WorkspaceRecord:
        """Return one record, as :meth:`load` does. Blocks: for whoever visits a thread anyway."""
        name = parse_name(name)
        path = self.path(name)
        try:
            with open_folder(self.root, *_RECORDS) as folder:
                return self._read(folder, path.name, name)
        except FileNotFoundError as error:
            raise WorkspaceNotFound(
                f"there is no workspace {name!r} in {self.root.parent}", details={"name": name}
            ) from error
        except (UnfitFile, UnreadableRecord) as error:
            raise RecordDamaged(
                f"the record of workspace {name!r} is damaged: {error}",
                hint=f"look at {path}; it is left as it is",
                details={"name": name, "path": str(path), "reason": str(error)},
            ) from error

    def _load_all(self) -> Listing:
        try:
            with open_folder(self.root, *_RECORDS) as folder, translated("list the workspaces", self.root):
                names = sorted(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path
                sweep(folder, names)
                self._sweep_current()
                return self._read_each(folder, names)
        except FileNotFoundError:
            return (), ()

    def _sweep_current(self) -> None:
        with open_folder(self.root) as folder:
            found = os.listdir(folder)  # noqa: PTH208 - a descriptor, not a path
            sweep(folder, [name for name in found if name.startswith(f".{_CURRENT}.")])

    def _names(self) -> frozenset[str]:
        try:
            with open_folder(self.root, *_RECORDS) as folder, translated("list the workspaces", self.root):
                found = os.listdir(folder)  # noqa: PTH208 - a descriptor, not a path
        except FileNotFoundError:
            return frozenset()
        return frozenset(
            name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX) and not name.startswith(".")
        )

    def _read_each(self, folder: int, names: list[str]) -> Listing:
        records: list[WorkspaceRecord] = []
        damaged: list[DamagedRecord] = []
        for name in names:
            stem = name.removesuffix(_SUFFIX)
            if stem == name or name.startswith("."):
                continue
            try:
                records.append(self._read(folder, name, stem))
            except FileNotFoundError:
                continue  # deleted since the listing
            except (UnfitFile, UnreadableRecord) as error:
                damaged.append(self._damage(stem, str(error)))
        self._remembered.keep(names)
        records.sort(key=lambda record: record.name)  # "a-b.json" sorts before "a.json", "a" before "a-b"
        return tuple(records), tuple(damaged)

    def _read(self, folder: int, name: str, stem: str) -> WorkspaceRecord:
        # Before reading: a change in between then shows as another identity next time.
        identity = settled_identity(folder, name)
        record = self._remembered.get(name, identity)
        if record is None:
            record = decode_record(stem, read_small(folder, name, MAX_RECORD_BYTES), self._migrations)
            self._remembered.note(name, identity, record)
        return record

    def _damage(self, stem: str, reason: str) -> DamagedRecord:
        # A name of other bytes than UTF-8 could be neither printed nor sent.
        shown = os.fsencode(stem).decode("utf-8", "replace")
        return DamagedRecord(name=shown, path=self.path(shown), reason=name_problem(stem) or reason)

    def write(self, record: WorkspaceRecord) -> None:
        """Store a record, as :meth:`save` does. Blocks: for whoever visits a thread anyway.

        Raises:
            StateError: As :meth:`save`.
        """
        path, data = self.path(record.name), self._encoded(record)
        with (
            translated(f"store the record of workspace {record.name!r} ({len(data)} bytes)", path),
            open_folder(self.root, *_RECORDS, create=True) as folder,
        ):
            write_atomic(folder, path.name, data)

    def _encoded(self, record: WorkspaceRecord) -> bytes:
        try:
            return encode_record(record)
        except ValueError as error:
            raise StateError(
                f"the record of workspace {record.name!r} cannot be stored: {error}", details={"name": record.name}
            ) from error

    def _delete(self, name: str) -> None:
        path = self.path(name)
        try:
            with open_folder(self.root, *_RECORDS) as folder, translated(f"delete the record of {name!r}", path):
                remove(folder, path.name)
        except FileNotFoundError:
            return

    def require(self, name: str) -> None:
        """Make sure that a record is there, without reading it. Blocks.

        Raises:
            InvalidName, WorkspaceNotFound, StateError: As :meth:`load`.
        """
        if not os.path.lexists(self.path(parse_name(name))):
            self.read(name)

    def read_current(self) -> WorkspaceName | None:
        """Return the current workspace's name, as :meth:`current` does. Blocks."""
        try:
            with open_folder(self.root) as folder:
                return parse_name(read_small(folder, _CURRENT, _MAX_CURRENT_BYTES).decode("ascii").strip())
        except (FileNotFoundError, UnfitFile, UnicodeDecodeError, InvalidName):
            return None

    def _set_current(self, name: WorkspaceName | None) -> None:
        path = self.root / _CURRENT
        try:
            with (
                open_folder(self.root, create=name is not None) as folder,
                translated("change the current workspace", path),
            ):
                if name is None:
                    remove(folder, _CURRENT)
                else:
                    write_atomic(folder, _CURRENT, _current_text(name))
        except FileNotFoundError:
            return


def _current_text(name: WorkspaceName) -> bytes:
    return f"{name}\n".encode()


def name_is_special(name: str) -> bool:
    """Return whether this file name would not be that of one record: empty, hidden, or with a NUL."""
    return not name or name.startswith(".") or "\0" in name
