"""Workers that share the tests have a fair share of the long ones, and have them first."""

from __future__ import annotations

import pytest

from tests.dealing import dealt, in_order


def test_every_worker_begins_with_the_first_of_all_and_none_is_lost() -> None:
    assert dealt(list("aabbccddee"), 2) == [*"abcde", *"abcde"]
    assert sorted(dealt(list(range(10)), 3)) == list(range(10))
    assert dealt(list(range(10)), 1) == list(range(10))


def test_the_long_ones_come_first(request: pytest.FixtureRequest) -> None:
    first = in_order(request.session.items)
    slow = [item.get_closest_marker("slow") is not None for item in first]
    assert slow == sorted(slow, reverse=True)
    assert sorted(item.nodeid for item in first) == sorted(item.nodeid for item in request.session.items)
