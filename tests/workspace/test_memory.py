"""How much memory is left: what the kernel's files say."""

from __future__ import annotations

import pytest

from nexus.workspace.memory import available, of_limit, of_machine


def test_what_the_machine_can_give() -> None:
    text = "MemTotal:       16000000 kB\nMemFree:          100 kB\nMemAvailable:    2048 kB\n"
    assert of_machine(text) == 2048 * 1024
    assert of_machine("MemTotal: 5 kB\n") is None


@pytest.mark.parametrize(
    ("limit", "used", "stat", "left"),
    [
        ("1000\n", "400\n", "", 600),
        ("1000\n", "400\n", "anon 1\ninactive_file 150\n", 750),
        ("1000\n", "1200\n", "", 0),
        ("max\n", "400\n", "", None),
        ("", "", "", None),
    ],
)
def test_what_a_limit_leaves(limit: str, used: str, stat: str, left: int | None) -> None:
    assert of_limit(limit, used, stat) == left


def test_this_machine_says_something_sensible() -> None:
    left = available()
    assert left is not None
    assert left > 0
