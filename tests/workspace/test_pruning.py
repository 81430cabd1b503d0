"""Which of the things that were kept go: decided purely."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from nexus.models.rescues import Rescue
from nexus.workspace.pruning import Candidate, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def candidate(age: int, size: int | None) -> Candidate:
    time = NOW - timedelta(seconds=age)
    ref = f"refs/nexus/rescue/a/{time:%Y%m%dT%H%M%SZ}"
    return Candidate(Rescue(ref=ref, name="a", time=time, commit="0" * 40), ref, time, size)


CANDIDATES = st.lists(st.builds(candidate, st.integers(0, 10_000), st.none() | st.integers(0, 1000)), max_size=8)


@given(CANDIDATES, st.integers(0, 10_000), st.none() | st.integers(0, 5000))
def test_nothing_young_goes_and_what_stays_fits_unless_it_is_young(
    candidates: list[Candidate], age: int, limit: int | None
) -> None:
    older = timedelta(seconds=age)
    verdicts = decide(candidates, now=NOW, older_than=older, max_disk=limit)
    assert len(verdicts) == len(candidates)
    assert all(NOW - verdict.candidate.time >= older for verdict in verdicts if verdict.remove)
    stays = [verdict.candidate for verdict in verdicts if not verdict.remove]
    may_go = [each for each in stays if NOW - each.time >= older]
    if limit is None:
        assert not may_go
    elif may_go:
        assert sum(each.size or 0 for each in stays) <= limit
    gone = [verdict.candidate.time for verdict in verdicts if verdict.remove]
    assert all(early <= late.time for early in gone for late in may_go), "the oldest go first"


@given(CANDIDATES)
def test_without_an_age_nothing_goes(candidates: list[Candidate]) -> None:
    assert not any(v.remove for v in decide(candidates, now=NOW, older_than=None, max_disk=0))


@given(CANDIDATES, st.integers(0, 5000))
def test_no_more_goes_than_is_needed(candidates: list[Candidate], limit: int) -> None:
    verdicts = decide(candidates, now=NOW, older_than=timedelta(0), max_disk=limit)
    gone = [verdict.candidate for verdict in verdicts if verdict.remove]
    if gone:
        before_last = sum(each.size or 0 for each in candidates) - sum(each.size or 0 for each in gone[:-1])
        assert before_last > limit
