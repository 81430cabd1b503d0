"""What the operations on a workspace consist of, as values: the journal is written from them, recovery reads them.

Creation runs forward and, when it fails or is found half done, is either finished or undone in reverse. Destruction only
runs forward: every step of it may be taken twice. What an operation that only changes whether something runs leaves when it is
cut short is decided here too:

===================  ===========================================================================================================
start                Everything was up: it runs. Otherwise what came up is taken down again: it is stopped, and may be started.
                     Processes that were kept are kept again.
stop                 It is carried on: it is stopped, and its processes are kept where they were to be and can be.
pause                It is carried on: it is paused, or what its provider sees when it does not run any more.
resume               It is carried on: it runs, or what its provider sees.
switch               Where waking the target was quick, or was done, it is carried on to the end. Otherwise the target is taken
                     down, and the workspace one came from is as it was. Never both asleep, never both awake.
sync                 The branch was moved: the index follows. It was not: the files are as before. What was changed since stays.
prune                What was being removed is removed by the next prune; it stays listed until then.
checkpoint           It was noted: it is there. Otherwise what was kept by then is removed. A workspace that ran goes on.
restore-checkpoint   What the workspace was before is kept: it is carried on. Not kept yet: the workspace is as it was.
delete-checkpoint    It is carried on.
fork                 Each fork is a creation of its own. What was kept for the forks alone is removed.
===================  ===========================================================================================================

The journals of ``checkpoint``, ``delete-checkpoint``, ``fork``, ``start``, ``stop``, ``pause``, ``resume``, ``switch`` and ``prune`` are
not flushed to the disk. A power cut ends whatever ran or was paused, so there is nothing left for them to say (what was kept for a
checkpoint that is not noted is found by its labels); a killed process does not lose what it wrote. That makes them cheap enough for
a switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal

from pydantic import JsonValue

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
    CHECKPOINTS = "checkpoints"
    """Remove what was kept for its checkpoints; work that is in them alone becomes a rescue."""
    REMEMBER = "remember"
    """Keep the branch's tip under a ref, and note how to bring the workspace back."""
    WORKTREE = "worktree"
    """Move the tree to the trash, remove git's entry and the branch."""
    PORTS = "ports"
    CLAIM = "claim"
    RECORD = "record"
    """Delete the record; last, so that whatever is left is still listed."""


class StartStep(StrEnum):
    """The steps of a start; each is left out where there is nothing to do."""

    PLACE = "place"
    """Make a lost place again, or give one other ports, and note how it is found."""
    UP = "up"
    """Bring everything up."""


class SyncStep(StrEnum):
    """What a sync notes."""

    AIM = "aim"
    """From which commit the tree goes to which: said before a file of it is touched."""


class RewindStep(StrEnum):
    """The steps of restoring a checkpoint, in order; each may be taken twice."""

    STOP = "stop"
    """End its processes, so that nothing changes any more."""
    KEEP = "keep"
    """Keep what it is now in a checkpoint: from here on it is carried on."""
    TREE = "tree"
    PLACE = "place"
    """Make its place from what was kept of it, with its configuration."""
    UP = "up"
    """Have it running, when it ran before."""


class Operation(StrEnum):
    """What a journal can be about."""

    CREATE = "create"
    DESTROY = "destroy"
    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    SWITCH = "switch"
    SYNC = "sync"
    PRUNE = "prune"
    CHECKPOINT = "checkpoint"
    RESTORE_CHECKPOINT = "restore-checkpoint"
    DELETE_CHECKPOINT = "delete-checkpoint"
    FORK = "fork"


VITAL: Final = frozenset({Operation.CREATE, Operation.DESTROY})
"""What has to be settled before anything else is done with a workspace. The rest must never be in the way of a destroy."""

GIT_WORK: Final = frozenset(
    {
        Operation.CREATE,
        Operation.DESTROY,
        Operation.SYNC,
        Operation.PRUNE,
        Operation.CHECKPOINT,
        Operation.RESTORE_CHECKPOINT,
        Operation.DELETE_CHECKPOINT,
        Operation.FORK,
    }
)
"""What takes locks of git's, which a killed process leaves behind."""

WITH: Final = "with"
"""The fact that names the other workspaces an operation is about: all of their locks are needed to settle it."""


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


def workspaces_of(name: str, facts: Mapping[str, JsonValue]) -> frozenset[str]:
    """Return the names of all workspaces that a journal is about."""
    others = facts.get(WITH)
    return frozenset(
        {name, *(other for other in others if isinstance(other, str))} if isinstance(others, list) else {name}
    )


def start_verdict(started: Sequence[str], finished: Sequence[str]) -> Literal["keep", "down", "place"]:
    """Say what recovery does with a start that was cut short: nothing, take it down, or first have its place whole."""
    if StartStep.UP in finished:
        return "keep"
    if StartStep.UP in started:
        return "down"
    return "place" if StartStep.PLACE in started and StartStep.PLACE not in finished else "keep"


def rewind_verdict(started: Sequence[str], finished: Sequence[str]) -> Literal["finish", "leave"]:
    """Say what recovery does with the restore of a checkpoint that was cut short: carry it on, or leave the workspace as it was."""
    return "finish" if RewindStep.KEEP in finished or RewindStep.TREE in started else "leave"


def switch_verdict(how: str, finished: Sequence[str]) -> Literal["finish", "undo"]:
    """Say whether recovery carries a switch on or takes it back.

    Args:
        how: How the target was to be woken: ``start`` for one that was stopped, ``thaw``, or ``none`` for one that ran.
        finished: The steps of its start that ended. Thawing may be taken twice, so it needs no step.
    """
    return "finish" if how != "start" or StartStep.UP in finished else "undo"
