from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nexus.providers.docker.probing import HealthSeen

START = datetime(2026, 1, 1, tzinfo=UTC)


def seen_with(*ends: str, interval: int = 5_000_000_000, health: bool = True) -> HealthSeen:
    state: dict[str, Any] = {"StartedAt": "2026-01-01T00:00:00.123456789Z"}
    if health:
        state["Health"] = {"Status": "healthy", "Log": [{"Start": end, "End": end} for end in ends]}
    return HealthSeen.model_validate(
        {"State": state, "Config": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": interval}}}
    )


@pytest.mark.parametrize(
    ("seconds", "starting"),
    [(0.0, False), (4.5, False), (4.9, True), (5.1, True), (6.4, True), (6.8, False), (60.0, False)],
)
def test_about_the_moment_of_a_test_nothing_is_frozen(seconds: float, starting: bool) -> None:
    seen = seen_with("2025-12-31T23:59:55Z", "2026-01-01T01:00:00+01:00")
    assert seen.may_be_starting(START + timedelta(seconds=seconds)) is starting


def test_the_first_test_follows_the_start() -> None:
    moment = seen_with().next_test
    assert moment is not None
    assert (moment - START).total_seconds() == pytest.approx(5.123456)
    assert seen_with(interval=0).next_test == moment + timedelta(seconds=25)


def test_what_is_not_tested_is_never_in_the_way() -> None:
    assert HealthSeen().never
    assert not seen_with().never
    assert seen_with(health=False).next_test is None
    assert not HealthSeen().may_be_starting(START)
