"""Checkpoints: what a program does with those of one workspace, and what a provider keeps of the place for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from nexus.abc.provider import Instance, ProgressCallback
from nexus.models.checkpoints import Checkpoint, CheckpointDiff, CheckpointRestored, KeptPlace
from nexus.models.ids import CheckpointId
from nexus.models.instances import InstanceRef, InstanceSpec


@runtime_checkable
class CheckpointAccess(Protocol):
    """The checkpoints of one workspace.

    Where a checkpoint is asked for, its name, its id, the beginning of its id, or the value itself may be given; one that is not
    there raises ``CheckpointNotFound``.
    """

    async def create(
        self, name: str | None = None, *, processes: bool = False, progress: ProgressCallback | None = None
    ) -> Checkpoint:
        """Take one: the tree with everything that is not committed, the place's own files and volumes, configuration and ports.

        The workspace and its services stand still meanwhile, and go on as they were. A backend that can keep only the tree says
        so in ``notes``.

        Args:
            name: What to call it; a name of this workspace's that is free.
            processes: Whether running processes have to be in it.
            progress: Told how it moves on.

        Raises:
            AlreadyExists: When the name is taken.
            Unsupported: When processes are asked for and cannot be kept; it says why.
            GitError: When a file of the tree cannot be kept.

        Cancellation: nothing is left of it, and the workspace goes on as it was.
        """

    async def list(self) -> tuple[Checkpoint, ...]:
        """Return them, the newest first."""

    async def restore(self, which: str | Checkpoint, *, progress: ProgressCallback | None = None) -> CheckpointRestored:
        """Make the workspace what it was then, in place. What it is now is kept in a checkpoint first: ``undo`` in the outcome.

        One that ran, runs again, with new processes; one that was stopped stays so. It keeps its name, id and ports.
        Ignored files of the tree stay as they are.

        Raises:
            GitError: When something is in the way that would be lost. Nothing has changed.
            NexusError: When the backend fails. It is then made what it was before, or the error says that this failed too.

        Cancellation: it is carried out all the same, for up to a minute; what is left then is done when the repository is opened next.
        """

    async def delete(self, which: str | Checkpoint) -> Checkpoint:
        """Remove one, with everything that was kept for it, and return what it was.

        Cancellation: it is gone, or still listed and can be removed.
        """

    async def diff(self, before: str | Checkpoint, after: str | Checkpoint | None = None) -> CheckpointDiff:
        """Return which files of the tree differ between two, or between one and now. Nothing is written."""


@runtime_checkable
class SupportsCheckpoints(Protocol):
    """Capability ``checkpoints``, on a provider: it keeps what belongs to an instance, and makes instances from that.

    What is kept belongs to no instance: destroying one removes nothing of it, and it carries the labels that it is given.
    """

    async def keep_place(
        self, ref: InstanceRef, key: CheckpointId, labels: Mapping[str, str], *, processes: bool = False
    ) -> KeptPlace:
        """Keep an instance's own files and volumes, and those of its services. The caller has seen to it that nothing runs in it.

        A call that fails or is cancelled leaves nothing behind, or something that :meth:`drop_place` removes by the key alone.

        Args:
            ref: Which instance.
            key: By what it is found again.
            labels: Put on everything that is kept.
            processes: Whether its processes have to be kept as well.

        Raises:
            WorkspaceGone: When there is no such instance.
            Unsupported: When its processes cannot be kept.
        """

    async def make_from(
        self,
        spec: InstanceSpec,
        place: KeptPlace,
        volumes: Mapping[str, str],
        *,
        progress: ProgressCallback | None = None,
    ) -> Instance:
        """Make an instance from what was kept, stopped. One of the same id is removed first, its services and volumes too.

        A service that is started beside it for the first time begins with the files that it had. Called again after it was cut
        short: it is made whole.

        Args:
            spec: What to make. Its image is what the instance's place had been made from at first.
            place: What was kept.
            volumes: For each kept volume that the configuration names, the name of the one to put it into.
            progress: Told how it moves on.

        Raises:
            CheckpointDamaged: When something of it is gone. Nothing has changed then.
        """

    async def drop_place(self, key: CheckpointId) -> None:
        """Remove everything that is kept under a key. Nothing there: nothing. Instances that were made from it are not harmed."""

    async def kept_places(self, labels: Mapping[str, str] | None = None) -> Mapping[CheckpointId, Mapping[str, str]]:
        """Return the keys under which anything is kept that carries all these labels, with the labels."""
