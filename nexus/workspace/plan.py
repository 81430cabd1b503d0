"""What creating and destroying a workspace consist of, as values: the journal is written from them, recovery reads them.

Creation runs forward and, when it fails or is found half done, is either finished or undone in reverse. Destruction only
runs forward: every step of it may be taken twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Literal

from nexus.models.base import Model


class CreateStep(StrEnum):
    """The steps of a creation, in order."""

    CLAIM = "claim"
    """Reserve the name in the node's registry."""
    RECORD = "record"
    """Write the record, status ``pending``: from here on the workspace is listed."""
    PORTS = "ports"
    """Lease host ports."""
    WORKTREE = "worktree"
    """Make the branch and its worktree."""
    IMAGE = "image"
    """Have the image ready. Leaves nothing that is ours to undo."""
    INSTANCE = "instance"
    """Make the place where it runs."""
    START = "start"
    """Start it."""


class DestroyStep(StrEnum):
    """The steps of a destruction, in order."""

    STOP = "stop"
    """End its processes, so that nothing changes any more."""
    RESCUE = "rescue"
    """Look for unsaved work a last time; refuse, or with force keep it under a rescue ref."""
    INSTANCE = "instance"
    REMEMBER = "remember"
    """Keep the branch's tip under a ref, and note how to bring the workspace back."""
    WORKTREE = "worktree"
    """Move the tree to the trash, remove git's entry and the branch."""
    PORTS = "ports"
    CLAIM = "claim"
    RECORD = "record"
    """Delete the record; last, so that whatever is left is still listed."""


class Operation(StrEnum):
    """What a journal can be about."""

    CREATE = "create"
    DESTROY = "destroy"


UNDO: Final = "undo"
"""Journaled when a creation gives up: from then on recovery takes it back, however far it had got."""

UNDO_ORDER: Final[tuple[CreateStep, ...]] = (
    CreateStep.START,
    CreateStep.INSTANCE,
    CreateStep.WORKTREE,
    CreateStep.PORTS,
    CreateStep.CLAIM,
    CreateStep.RECORD,
)
"""The record goes last here too: a creation that cannot be undone whole stays listed and can be destroyed."""


class Undo(Model):
    """One step to take back."""

    step: CreateStep
    finished: bool
    """Whether the step was done; otherwise it may be half done."""


def create_steps(*, start: bool) -> tuple[str, ...]:
    """Return the plan of a creation, and the way back."""
    return (*(step for step in CreateStep if start or step is not CreateStep.START), UNDO)


def undo_steps(started: Sequence[str], finished: Sequence[str]) -> tuple[Undo, ...]:
    """Return what has to be taken back, in order, given the steps that were begun and those that ended."""
    return tuple(Undo(step=step, finished=step in finished) for step in UNDO_ORDER if step in started)


def verdict(started: Sequence[str], finished: Sequence[str]) -> Literal["finish", "undo"]:
    """Say what recovery does with a creation that was cut short: what has its place is finished, the rest is undone.

    One that had failed and was being undone is undone to the end.
    """
    return "finish" if CreateStep.INSTANCE in finished and UNDO not in started else "undo"
