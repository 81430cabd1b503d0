"""The records of one repository's workspaces, and whether each is one that we wrote: a clone may bring files of its own making along."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from nexus import git, state
from nexus.errors import NexusError, RecordDamaged, WorkspaceNotFound
from nexus.models.workspace import DamagedRecord, Repository, WorkspaceRecord

ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""What a workspace's id looks like."""


class Glance(NamedTuple):
    """A workspace and the one that is current, read together."""

    record: WorkspaceRecord
    current: str | None
    other: WorkspaceRecord | None = None
    """The current one, where it is another; ``None`` too where it was destroyed or is damaged."""


class OwnRecords:
    """Reads records. None is given that is not ours.

    Args:
        repository: Whose workspaces they are of.
        store: Where they are written.
    """

    def __init__(self, repository: Repository, store: state.FileStateStore) -> None:
        self._repository = repository
        self._store = store
        self._names: dict[str, str] = {}
        """The name that goes with an id, as it was last time."""
        self._ours: dict[str, tuple[Path, str]] = {}
        """The tree and the branch that go with a name."""

    async def load(self, name: str) -> WorkspaceRecord:
        """Return a workspace's record, by its name or id.

        Raises:
            WorkspaceNotFound: When there is none.
            RecordDamaged: When its file cannot be understood, or is not ours.
        """
        if not ID.fullmatch(name):
            return self._own(await self._store.load(name))
        # Handles ask by id for every command: the name it had last time is right nearly always, and one file is read, not all.
        known = self._names.get(name)
        if known is not None:
            try:
                record = self._own(await self._store.load(known))
            except WorkspaceNotFound:
                pass
            else:
                if record.id == name:
                    return record
        found, _ = await self.all()
        for record in found:
            self._names[record.id] = record.name
            if record.id == name:
                return record
        raise WorkspaceNotFound(
            f"there is no workspace with the id {name}", hint="'boulder ws list' names those there are"
        )

    def glance(self, name: str) -> Glance:
        """Return a workspace's record and that of the current one. Blocks, once for all of it.

        Raises:
            WorkspaceNotFound, RecordDamaged: As :meth:`load`.
        """
        record, current = self._own(self._store.read(name)), self._store.read_current()
        if current is None or current == name:
            return Glance(record, current)
        try:
            return Glance(record, current, self._own(self._store.read(current)))
        except NexusError:
            return Glance(record, current)

    async def all(self) -> tuple[tuple[WorkspaceRecord, ...], tuple[DamagedRecord, ...]]:
        """Return every record that is ours, and every file that cannot be understood or cannot be ours, by name."""
        found, damaged = await self._store.load_all()
        strange = {record.name: reason for record in found if (reason := self._strange(record))}
        ours = tuple(record for record in found if record.name not in strange)
        foreign = tuple(
            DamagedRecord(name=name, path=self._store.path(name), reason=reason) for name, reason in strange.items()
        )
        return ours, tuple(sorted((*damaged, *foreign), key=lambda entry: entry.name))

    def remember(self, record: WorkspaceRecord) -> None:
        """Remember the name of a workspace that was just made: whoever asks for it by its id need not read every record."""
        self._names[record.id] = record.name

    def forget(self, record: WorkspaceRecord) -> None:
        """Let go of what is remembered of a workspace that is destroyed."""
        self._names.pop(record.id, None)
        self._ours.pop(record.name, None)

    def _own(self, record: WorkspaceRecord) -> WorkspaceRecord:
        reason = self._strange(record)
        if reason is not None:
            raise RecordDamaged(
                f"the record of workspace {record.name!r} is not this repository's: {reason}",
                hint="'boulder doctor --fix' sets it aside and rebuilds it from what is really there",
                details={"name": record.name},
            )
        return record

    def _strange(self, record: WorkspaceRecord) -> str | None:
        """Say why a record cannot be one that we wrote here."""
        of, here = record.repository, self._repository
        if of.root != here.root or of.common_dir != here.common_dir:
            return f"it belongs to a repository at {of.root}"
        ours = self._ours.get(record.name)
        if ours is None:
            ours = self._ours[record.name] = (git.worktree_path(here, record.name), git.branch_name(record.name))
        if (record.worktree_path, record.branch) != ours:
            return f"it names another tree or branch: {record.worktree_path}, {record.branch}"
        return None
