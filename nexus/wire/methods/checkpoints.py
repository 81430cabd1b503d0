"""``checkpoint.*`` and forks: a workspace as it was."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from nexus.models.checkpoints import (
    Checkpoint,
    CheckpointDiff,
    CheckpointName,
    CheckpointRestored,
    ForkOutcome,
    ForkRequest,
)
from nexus.wire.methods.table import Effect, KeyedOfWorkspace, KeyedParams, Method, OfWorkspace, Params

Which = Annotated[str, Field(min_length=1, max_length=100)]


class Take(KeyedOfWorkspace):
    """What to call it, and what has to be in it."""

    name: CheckpointName | None = None
    processes: bool = False


class CheckpointList(Params):
    """Checkpoints, the newest first."""

    items: tuple[Checkpoint, ...]


class OfCheckpoint(KeyedOfWorkspace):
    """Its name, its id, or the beginning of that."""

    checkpoint: Which


class Diff(OfWorkspace):
    """What to compare; with now when there is no ``after``."""

    before: Which
    after: Which | None = None


class Fork(KeyedParams):
    """Workspaces to make."""

    spec: ForkRequest


class Forked(Params):
    """One for each name, in their order: a workspace, or why there is none."""

    items: tuple[ForkOutcome, ...]


_READ, _WRITE = "workspace:read", "workspace:write"

CREATE: Final = Method("checkpoint.create", Take, Checkpoint, Effect.KEYED, _WRITE, "Take a checkpoint.", progress=True)
LIST: Final = Method("checkpoint.list", OfWorkspace, CheckpointList, Effect.READ, _READ, "Return its checkpoints.")
RESTORE: Final = Method(
    "checkpoint.restore",
    OfCheckpoint,
    CheckpointRestored,
    Effect.KEYED,
    _WRITE,
    "Make the workspace what it was then; what it is now is kept first.",
    progress=True,
)
DELETE: Final = Method("checkpoint.delete", OfCheckpoint, Checkpoint, Effect.KEYED, _WRITE, "Remove a checkpoint.")
DIFF: Final = Method("checkpoint.diff", Diff, CheckpointDiff, Effect.READ, _READ, "Return which files differ.")
FORK: Final = Method(
    "workspace.fork", Fork, Forked, Effect.KEYED, _WRITE, "Make workspaces from one that is there.", progress=True
)

METHODS: Final = (CREATE, LIST, RESTORE, DELETE, DIFF, FORK)
