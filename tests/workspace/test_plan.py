from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus.workspace.plan import UNDO, UNDO_ORDER, CreateStep, create_steps, undo_steps, verdict

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
