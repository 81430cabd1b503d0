"""Checkpoints of a workspace, what differs between two of them, and workspaces that are forked from one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from nexus.models.base import Model
from nexus.models.ids import CheckpointId, Name, WorkspaceId
from nexus.models.ports import PortMapping
from nexus.models.workspace import WorkspaceInfo, WorkspaceRecord

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,62}$"
CheckpointName: TypeAlias = Annotated[str, Field(pattern=NAME_PATTERN)]
"""What people call a checkpoint: letters, digits, ``.``, ``_``, ``-`` and spaces, at most 63 of them."""


class VolumeCopy(Model):
    """A copy of a volume, as it was."""

    source: str
    """The name of the volume that it was copied from."""
    copy_name: str
    """The name of the copy."""
    target: str
    """Where it was mounted."""
    service: str | None = None
    """The service that mounted it; ``None`` for the workspace's own place."""
    declared: bool = True
    """Whether the configuration names it; otherwise its image asked for it, and it belongs to its container."""
    size: int = 0
    """Bytes that went over."""


class KeptPlace(Model):
    """What a backend keeps of the place where a workspace runs."""

    key: CheckpointId
    image: str | None = None
    """The provider's handle on the place's own files: an image, where the backend has images."""
    services: Mapping[str, str] = {}
    """The same of each service, by its name."""
    volumes: tuple[VolumeCopy, ...] = ()
    size: int = 0
    """Bytes of files that are kept beyond those of the images that were there before."""
    processes: bool = False
    notes: tuple[str, ...] = ()
    """What is not in it, in words."""


class Checkpoint(Model):
    """A workspace as it was at one moment."""

    id: CheckpointId
    name: CheckpointName | None = None
    """What it was called; ``None`` for one that was taken without being asked for."""
    reason: str | None = None
    """Why it was taken when nobody asked for it: ``before restoring …``."""
    workspace: WorkspaceId
    workspace_name: Name
    created_at: datetime
    ref: str
    """The git ref that holds the tree: ``refs/nexus/checkpoints/<workspace>/<id>``."""
    commit: str
    """The commit that it leads to. Its tree is the work tree, untracked files included."""
    tip: str | None = None
    """Where the workspace's branch was."""
    backend: str
    image: str | None = None
    """The backend's handle on the files of its place; ``None`` where those are not in it."""
    volumes: tuple[str, ...] = ()
    """The volumes whose content is in it."""
    services: tuple[str, ...] = ()
    """The services whose files are in it."""
    ports: tuple[PortMapping, ...] = ()
    """The ports that it had."""
    files: int = 0
    """How many files it holds that were changed since they were staged or committed, or that git did not know."""
    tree_size: int = 0
    """Bytes of those files, before git compresses them."""
    place_size: int = 0
    """Bytes of its place's own files and volumes."""
    processes: bool = False
    """Whether its processes are in it."""
    frozen: bool = True
    """Whether nothing could change while it was taken."""
    notes: tuple[str, ...] = ()
    """What is not in it, in words."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.tree_size + self.place_size

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        return self.name or self.id


class CheckpointEntry(Model):
    """A checkpoint as ``.nexus/state/checkpoints/<workspace>/<id>.json`` holds it. Never a secret, only references."""

    schema_version: int = 1
    checkpoint: Checkpoint
    record: WorkspaceRecord
    """The workspace's record at that moment: its configuration."""
    place: KeptPlace | None = None
    passing: bool = False
    """Whether it exists for one fork alone."""


class FileDifference(Model):
    """One file that is not the same in both."""

    path: str
    change: Literal["added", "changed", "removed"]
    before: int | None = None
    """Bytes before; ``None`` when it was not there."""
    after: int | None = None
    """Bytes after; ``None`` when it is not there any more."""


class CheckpointDiff(Model):
    """What differs between the trees of two checkpoints, or of a checkpoint and now."""

    before: CheckpointId
    after: CheckpointId | None = None
    """``None``: now."""
    files: tuple[FileDifference, ...] = ()
    """By path."""
    notes: tuple[str, ...] = ()
    """What was not compared."""

    def of(self, change: Literal["added", "changed", "removed"]) -> tuple[str, ...]:
        """Return the paths of one kind."""
        return tuple(file.path for file in self.files if file.change == change)


class CheckpointRestored(Model):
    """What restoring a checkpoint did."""

    info: WorkspaceInfo
    """The workspace as it is now."""
    restored: Checkpoint
    undo: Checkpoint
    """What it was before: restore this one to take the restore back."""
    notes: tuple[str, ...] = ()
    """What could not be as it was."""


class ForkRequest(Model):
    """Workspaces to make from one that is there."""

    workspace: str
    """Name or id of the one to fork."""
    names: tuple[str, ...]
    """What the new ones are called."""
    at: str | None = None
    """The checkpoint to start from, by name or id; as it is now when absent."""
    start: bool = True
    """Whether they run when the call returns."""


class Failure(Model):
    """An error as a value."""

    code: str
    message: str
    hint: str | None = None


class ForkOutcome(Model):
    """One fork: a workspace, or why there is none."""

    name: str
    info: WorkspaceInfo | None = None
    error: Failure | None = None
    """When it could not be made whole. A workspace that was made and does not run has both."""
