"""The life of a workspace as one table: status and event to status. Every decision about a status is made here.

``destroy`` is legal in every status: a workspace that cannot be deleted is the worst kind. An event that the table does not
hold is refused with a sentence that names the events that are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from nexus.errors import StateConflict
from nexus.models.instances import InstanceState, InstanceStatus
from nexus.models.workspace import WorkspaceStatus

_PENDING, _STOPPED, _RUNNING = WorkspaceStatus.PENDING, WorkspaceStatus.STOPPED, WorkspaceStatus.RUNNING
_PAUSED, _ERROR = WorkspaceStatus.PAUSED, WorkspaceStatus.ERROR
_DESTROYING, _DESTROYED = WorkspaceStatus.DESTROYING, WorkspaceStatus.DESTROYED


class Event(StrEnum):
    """What can happen to a workspace."""

    CREATED = "created"
    """Creation ended, without starting."""
    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    FAIL = "fail"
    DESTROY = "destroy"
    DESTROYED = "destroyed"


def _life(extra: Mapping[Event, WorkspaceStatus]) -> Mapping[Event, WorkspaceStatus]:
    """A living status: what is special to it, and the two things that may always happen."""
    return MappingProxyType({**extra, Event.FAIL: _ERROR, Event.DESTROY: _DESTROYING})


TRANSITIONS: Final[Mapping[WorkspaceStatus, Mapping[Event, WorkspaceStatus]]] = MappingProxyType(
    {
        _PENDING: _life({Event.CREATED: _STOPPED, Event.START: _RUNNING}),
        _STOPPED: _life({Event.START: _RUNNING, Event.STOP: _STOPPED}),
        _RUNNING: _life({Event.START: _RUNNING, Event.STOP: _STOPPED, Event.PAUSE: _PAUSED, Event.RESUME: _RUNNING}),
        _PAUSED: _life({Event.START: _RUNNING, Event.STOP: _STOPPED, Event.PAUSE: _PAUSED, Event.RESUME: _RUNNING}),
        _ERROR: _life({Event.START: _RUNNING, Event.STOP: _STOPPED}),
        _DESTROYING: MappingProxyType(
            {Event.DESTROY: _DESTROYING, Event.DESTROYED: _DESTROYED, Event.FAIL: _ERROR, Event.STOP: _STOPPED}
        ),
        _DESTROYED: MappingProxyType({Event.DESTROY: _DESTROYED, Event.DESTROYED: _DESTROYED}),
    }
)
"""``DESTROYING`` knows ``STOP`` because a destroy that finds unsaved work after stopping leaves a stopped workspace."""


_GONE: Final = "the place it ran in was removed by somebody else; 'start' makes it again"


def allowed(status: WorkspaceStatus) -> tuple[Event, ...]:
    """Return the events that are legal in a status."""
    return tuple(TRANSITIONS[status])


def after(status: WorkspaceStatus, event: Event, *, name: str) -> WorkspaceStatus:
    """Return the status that follows.

    Raises:
        StateConflict: When the event is not legal in this status.
    """
    following = TRANSITIONS[status].get(event)
    if following is None:
        legal = ", ".join(TRANSITIONS[status])
        raise StateConflict(
            f"workspace {name!r} is {status}: {event} is not possible",
            hint=f"possible now: {legal}",
            details={"state": str(status), "allowed": [str(event) for event in allowed(status)]},
        )
    return following


def observed(
    recorded: WorkspaceStatus, message: str | None, seen: InstanceStatus
) -> tuple[WorkspaceStatus, str | None, bool]:
    """Join what the record says with what the provider sees.

    The provider is right about whether it runs; the record is right about what we were doing to it.

    Returns:
        The status, a sentence about it, and whether the place it ran in is gone.
    """
    if recorded in {_PENDING, _DESTROYING, _DESTROYED}:
        return recorded, message, False
    stays = _ERROR if recorded is _ERROR else _STOPPED
    answers: Mapping[InstanceState, tuple[WorkspaceStatus, str | None, bool]] = {
        InstanceState.RUNNING: (_RUNNING, message if recorded is _RUNNING else None, False),
        InstanceState.PAUSED: (_PAUSED, seen.detail or None, False),
        InstanceState.STOPPED: (stays, message or seen.detail or None, False),
        InstanceState.FAILED: (_ERROR, seen.detail or message, False),
        InstanceState.GONE: (stays, seen.detail or _GONE, True),
        InstanceState.UNKNOWN: (
            recorded,
            f"last known status; {seen.detail or 'its provider cannot be asked now'}",
            False,
        ),
    }
    return answers[seen.state]


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> pending: create"]
    for status, events in TRANSITIONS.items():
        lines += [
            f"    {status} --> {following}: {event}" for event, following in events.items() if following is not status
        ]
    return "\n".join([*lines, "    destroyed --> [*]", ""])
