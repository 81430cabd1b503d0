from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import StateConflict
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceRef, InstanceState, InstanceStatus
from nexus.models.workspace import WorkspaceStatus
from nexus.workspace.lifecycle import TRANSITIONS, Event, after, allowed, diagram, observed

S = WorkspaceStatus
LIVING = [S.PENDING, S.STOPPED, S.RUNNING, S.PAUSED, S.ERROR]


def seen(state: InstanceState, detail: str = "") -> InstanceStatus:
    return InstanceStatus(ref=InstanceRef(id=WorkspaceId("id")), state=state, detail=detail)


@pytest.mark.parametrize(("status", "event"), list(itertools.product(S, Event)))
def test_every_pair_is_either_in_the_table_or_refused_in_words(status: S, event: Event) -> None:
    if event in TRANSITIONS[status]:
        assert after(status, event, name="a") is TRANSITIONS[status][event]
        return
    with pytest.raises(StateConflict) as caught:
        after(status, event, name="a")
    assert str(status) in str(caught.value)
    assert str(event) in str(caught.value)
    assert caught.value.details["allowed"] == [str(each) for each in allowed(status)]


@pytest.mark.parametrize("status", S)
def test_destroy_is_legal_in_every_status(status: S) -> None:
    assert after(status, Event.DESTROY, name="a") in {S.DESTROYING, S.DESTROYED}


@pytest.mark.parametrize("status", LIVING)
def test_everything_alive_may_fail_and_be_started_or_destroyed_afterwards(status: S) -> None:
    failed = after(status, Event.FAIL, name="a")
    assert failed is S.ERROR
    assert after(failed, Event.START, name="a") is S.RUNNING


@pytest.mark.parametrize("event", [Event.START, Event.STOP, Event.PAUSE, Event.RESUME])
def test_repeating_an_event_changes_nothing(event: Event) -> None:
    for status in LIVING:
        following = TRANSITIONS[status].get(event)
        if following is not None:
            assert TRANSITIONS[following][event] is following


def test_destroyed_is_the_end() -> None:
    assert set(TRANSITIONS[S.DESTROYED].values()) == {S.DESTROYED}


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_no_walk_leaves_the_table(events: list[Event]) -> None:
    status = S.PENDING
    for event in events:
        status = TRANSITIONS[status].get(event, status)
        assert status in TRANSITIONS
        assert Event.DESTROY in TRANSITIONS[status]


@pytest.mark.parametrize(
    ("recorded", "state", "expected", "missing"),
    [
        (S.RUNNING, InstanceState.RUNNING, S.RUNNING, False),
        (S.RUNNING, InstanceState.STOPPED, S.STOPPED, False),
        (S.RUNNING, InstanceState.PAUSED, S.PAUSED, False),
        (S.STOPPED, InstanceState.RUNNING, S.RUNNING, False),
        (S.RUNNING, InstanceState.FAILED, S.ERROR, False),
        (S.RUNNING, InstanceState.GONE, S.STOPPED, True),
        (S.RUNNING, InstanceState.UNKNOWN, S.RUNNING, False),
        (S.ERROR, InstanceState.STOPPED, S.ERROR, False),
        (S.ERROR, InstanceState.RUNNING, S.RUNNING, False),
        (S.PENDING, InstanceState.RUNNING, S.PENDING, False),
        (S.DESTROYING, InstanceState.GONE, S.DESTROYING, False),
    ],
)
def test_the_provider_is_right_about_what_runs(recorded: S, state: InstanceState, expected: S, missing: bool) -> None:
    status, _, gone = observed(recorded, None, seen(state))
    assert (status, gone) == (expected, missing)


def test_what_cannot_be_asked_is_said_to_be_the_last_known() -> None:
    status, message, _ = observed(S.RUNNING, None, seen(InstanceState.UNKNOWN, "the engine is down"))
    assert status is S.RUNNING
    assert message is not None
    assert "last known" in message
    assert "the engine is down" in message


def test_the_diagram_draws_every_change_of_the_table() -> None:
    text = diagram()
    for status, events in TRANSITIONS.items():
        for event, following in events.items():
            assert (f"{status} --> {following}: {event}" in text) is (following is not status)
