"""What observers are told. Events are values; a failing observer never hurts the operation that sent them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from nexus.models.base import Model
from nexus.models.checkpoints import Checkpoint
from nexus.models.execution import Stream
from nexus.models.hooks import HookName, HookResult
from nexus.models.ids import CheckpointId, WorkspaceId
from nexus.models.ports import PortChange, PortNumber, PortProtocol
from nexus.models.workspace import WorkspaceStatus


def _now() -> datetime:
    return datetime.now(UTC)


class _Event(Model):
    workspace: WorkspaceId
    name: str
    at: datetime = Field(default_factory=_now)


class StatusChanged(_Event):
    """A workspace went from one status to another."""

    kind: Literal["status_changed"] = "status_changed"
    previous: WorkspaceStatus | None
    status: WorkspaceStatus
    reason: str


class PortChanged(_Event):
    """A stolen port was replaced."""

    kind: Literal["port_changed"] = "port_changed"
    change: PortChange


class Switched(_Event):
    """This workspace is the current one now."""

    kind: Literal["switched"] = "switched"
    previous: str | None


class Progress(_Event):
    """A long step moved on."""

    kind: Literal["progress"] = "progress"
    step: str
    """The step: ``worktree``, ``image``, ``create``, ``start`` …"""
    message: str
    done: int | None = None
    total: int | None = None
    """Work done and work in all, in the step's own unit; ``None`` where that is not known."""


class Recovered(_Event):
    """An operation that a crash had cut short was finished or undone."""

    kind: Literal["recovered"] = "recovered"
    operation: str
    outcome: Literal["finished", "undone"]


class HookStarted(_Event):
    """A script or hook is about to run."""

    kind: Literal["hook_started"] = "hook_started"
    hook: HookName
    log: Path
    """File on this host that gets its output."""


class HookOutput(_Event):
    """A script printed something. Values of secrets are taken out."""

    kind: Literal["hook_output"] = "hook_output"
    hook: HookName
    stream: Stream
    text: str
    """As it came: not cut at line ends."""


class HookFinished(_Event):
    """A script has ended, or could not be begun."""

    kind: Literal["hook_finished"] = "hook_finished"
    result: HookResult


class PortOpened(_Event):
    """A program in the workspace has begun to listen."""

    kind: Literal["port_opened"] = "port_opened"
    port: PortNumber
    """The number inside."""
    protocol: PortProtocol = "tcp"
    port_name: str | None = None
    """The name it was declared by; ``None`` when nobody did."""
    url: str | None = None
    """Where it is reached from this host, when it is."""


class PortClosed(_Event):
    """Nothing listens there any more."""

    kind: Literal["port_closed"] = "port_closed"
    port: PortNumber
    protocol: PortProtocol = "tcp"
    port_name: str | None = None


class CheckpointTaken(_Event):
    """A checkpoint of the workspace is there, whoever asked for it: its user, a restore, a switch."""

    kind: Literal["checkpoint_taken"] = "checkpoint_taken"
    checkpoint: Checkpoint


class CheckpointDeleted(_Event):
    """A checkpoint of the workspace is gone."""

    kind: Literal["checkpoint_deleted"] = "checkpoint_deleted"
    checkpoint: Checkpoint
    """What it was."""


class Restored(_Event):
    """The workspace is what it was at a checkpoint. Its status is told as well, where it changed."""

    kind: Literal["restored"] = "restored"
    checkpoint: Checkpoint
    undo: CheckpointId
    """The checkpoint of what it was until then."""


class ForkMade(_Event):
    """Another workspace was made from this one."""

    kind: Literal["fork_made"] = "fork_made"
    fork: WorkspaceId
    fork_name: str
    checkpoint: CheckpointId
    """What it was made from; one that was taken for the fork alone is gone afterwards, and is not told of."""


WorkspaceEvent: TypeAlias = Annotated[
    StatusChanged
    | PortChanged
    | PortOpened
    | PortClosed
    | Switched
    | Progress
    | Recovered
    | HookStarted
    | HookOutput
    | HookFinished
    | CheckpointTaken
    | CheckpointDeleted
    | Restored
    | ForkMade,
    Field(discriminator="kind"),
]
