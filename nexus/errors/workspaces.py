"""What is not there, what is in the way, what is damaged: errors about workspaces and their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from typing_extensions import override

from nexus.errors.base import Detail, NexusError, lines


class NotFound(NexusError, LookupError):
    """Something that was named does not exist."""

    code = "NOT_FOUND"
    retryable: ClassVar[bool | None] = False


class WorkspaceNotFound(NotFound):
    """No workspace has this name or id."""

    code = "WORKSPACE_NOT_FOUND"


class ProviderNotFound(NotFound):
    """No provider is registered under this name, or its driver is not installed."""

    code = "PROVIDER_NOT_FOUND"


class ServiceNotFound(NotFound):
    """The workspace has no service of this name."""

    code = "SERVICE_NOT_FOUND"


class CheckpointNotFound(NotFound):
    """The workspace has no such checkpoint."""

    code = "CHECKPOINT_NOT_FOUND"


class TerminalNotFound(NotFound):
    """The workspace has no terminal of this id."""

    code = "TERMINAL_NOT_FOUND"


class Conflict(NexusError):
    """The call contradicts what is there."""

    code = "CONFLICT"


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "ALREADY_EXISTS"
    retryable: ClassVar[bool | None] = False


class StateConflict(Conflict):
    """The workspace's state does not allow this call; ``details`` holds ``state`` and ``allowed``."""

    code = "STATE_CONFLICT"


class Busy(Conflict):
    """Somebody else holds the lock and did not let go in time; ``details["holder"]`` says who."""

    code = "BUSY"
    retryable: ClassVar[bool | None] = True


class NotController(Conflict):
    """This look at a terminal is a viewer's: it can neither type nor set the size."""

    code = "NOT_CONTROLLER"
    retryable: ClassVar[bool | None] = False


class UnsavedWork(Conflict):
    """The call would lose work; ``lost`` lists each piece in words.

    Args:
        message: What was refused, and why.
        lost: One line for each modified or untracked file and each commit that exists nowhere else.
        hint: How to keep the work or to go on.
        report: The same in full, field by field.
    """

    code = "UNSAVED_WORK"
    retryable: ClassVar[bool | None] = False

    def __init__(
        self,
        message: str,
        *,
        lost: Sequence[str] = (),
        hint: str | None = None,
        report: Mapping[str, Detail] | None = None,
    ) -> None:
        self.lost: tuple[str, ...] = tuple(lost)
        super().__init__(
            message, hint=hint, details={"lost": list(self.lost), **({} if report is None else {"report": report})}
        )

    @classmethod
    @override
    def revive(cls, message: str, hint: str | None, details: Mapping[str, Detail]) -> Self:
        report = details.get("report")
        return cls(
            message, lost=lines(details.get("lost")), hint=hint, report=report if isinstance(report, Mapping) else None
        )


class StateError(NexusError):
    """State on disk cannot be read or written."""

    code = "STATE_ERROR"


class RecordDamaged(StateError):
    """A workspace's record cannot be understood; the file is left where it is."""

    code = "RECORD_DAMAGED"
    retryable: ClassVar[bool | None] = False


class RegistryDamaged(StateError):
    """The node's registry cannot be understood; the file is left where it is."""

    code = "REGISTRY_DAMAGED"
    retryable: ClassVar[bool | None] = False


class CheckpointDamaged(StateError):
    """Something of a checkpoint was removed or changed by somebody else, so it cannot be restored whole."""

    code = "CHECKPOINT_DAMAGED"
    retryable: ClassVar[bool | None] = False


class WorkspaceUnavailable(NexusError):
    """The workspace exists but cannot act now."""

    code = "WORKSPACE_UNAVAILABLE"


class WorkspaceStopped(WorkspaceUnavailable):
    """The workspace is not running."""

    code = "WORKSPACE_STOPPED"
    retryable: ClassVar[bool | None] = False


class WorkspaceGone(WorkspaceUnavailable):
    """The place where the workspace ran was removed by somebody else; its worktree and branch are untouched."""

    code = "WORKSPACE_GONE"
    retryable: ClassVar[bool | None] = False


class WorkspaceUnreachable(WorkspaceUnavailable):
    """The provider does not answer, so the workspace's state is not known."""

    code = "WORKSPACE_UNREACHABLE"
    retryable: ClassVar[bool | None] = True


class QuotaExceeded(NexusError):
    """A limit set for this node or user is reached."""

    code = "QUOTA_EXCEEDED"
