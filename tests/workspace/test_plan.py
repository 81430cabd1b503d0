from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus.workspace.plan import (
    UNDO,
    UNDO_ORDER,
    WITH,
    CreateStep,
    StartStep,
    create_steps,
    start_verdict,
    switch_verdict,
    undo_steps,
    verdict,
    workspaces_of,
)

ALL = list(CreateStep)


def test_a_workspace_that_is_not_to_run_is_not_started() -> None:
    assert CreateStep.START in create_steps(start=True)
    assert CreateStep.START not in create_steps(start=False)


@given(st.integers(0, len(ALL)), st.integers(0, len(ALL)))
def test_undo_takes_back_exactly_what_was_begun_and_the_record_last(begun: int, ended: int) -> None:
    started, finished = ALL[:begun], ALL[: min(ended, begun)]
    taken = undo_steps(started, finished)
    assert {each.step for each in taken} == set(started) - {CreateStep.IMAGE}
    assert [each.step for each in taken] == [step for step in UNDO_ORDER if step in started]
    assert all(each.finished == (each.step in finished) for each in taken)
    if CreateStep.RECORD in started:
        assert taken[-1].step is CreateStep.RECORD


def test_nothing_begun_means_nothing_to_undo() -> None:
    assert undo_steps([], []) == ()


def test_a_creation_is_finished_once_its_place_exists_and_undone_before() -> None:
    for count in range(len(ALL) + 1):
        finished = ALL[:count]
        assert verdict(finished, finished) == ("finish" if CreateStep.INSTANCE in finished else "undo")
        assert verdict([*finished, UNDO], finished) == "undo"


def test_a_start_is_kept_when_all_was_up_and_taken_down_when_only_some_was() -> None:
    place, up = StartStep.PLACE, StartStep.UP
    assert start_verdict([], []) == "keep"
    assert start_verdict([place], []) == "place"
    assert start_verdict([place], [place]) == "keep"
    assert start_verdict([place, up], [place]) == "down"
    assert start_verdict([up], []) == "down"
    assert start_verdict([up], [up]) == "keep"


def test_a_switch_is_taken_back_only_while_a_stopped_target_is_coming_up() -> None:
    assert switch_verdict("none", []) == "finish"
    assert switch_verdict("thaw", []) == "finish"
    assert switch_verdict("start", []) == "undo"
    assert switch_verdict("start", [StartStep.PLACE]) == "undo"
    assert switch_verdict("start", [StartStep.UP]) == "finish"


def test_a_journal_names_every_workspace_whose_lock_is_needed() -> None:
    assert workspaces_of("a", {}) == {"a"}
    assert workspaces_of("a", {WITH: ["b"]}) == {"a", "b"}
    assert workspaces_of("a", {WITH: [None, 3]}) == {"a"}
    assert workspaces_of("a", {WITH: "b"}) == {"a"}
