"""In which order tests run when workers share them: the long ones first, dealt out like cards.

Each worker begins with a hand of the long ones, which mostly wait for an engine, and all end with short ones: none is still at a long
one when there is nothing left for the others to take over.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import TypeVar

import pytest

T = TypeVar("T")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:  # alone, they come in the order of the files
        items[:] = dealt(in_order(items), workers)


def pytest_collection_finish() -> None:
    """Have what was imported and collected looked through no more: it stays until the end, and is most of what there is."""
    gc.collect()
    gc.freeze()


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the slow ones first, of these those that need an engine, of these those that ask for the most time."""
    return sorted(items, key=_shortness)


def dealt(cards: list[T], hands: int) -> list[T]:
    """Return hand after hand, as workers get them: each a part of the whole, as long as the others, one after the other."""
    return [card for hand in range(hands) for card in cards[hand::hands]]


def _shortness(item: pytest.Item) -> tuple[bool, bool, float]:
    limit = item.get_closest_marker("timeout")
    return (
        item.get_closest_marker("slow") is None,
        item.get_closest_marker("docker") is None,
        -float(limit.args[0]) if limit is not None else 0.0,
    )
