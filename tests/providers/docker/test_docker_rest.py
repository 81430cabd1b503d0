"""When the output of a command that has ended is over: told by the times and sizes alone."""

from __future__ import annotations

import pytest

from nexus.providers.docker.exec_rest import Rest

MIB = 1 << 20


def ended(at: float = 100.0) -> Rest:
    rest = Rest()
    rest.came(8 * MIB)  # before its end it may print what it likes
    rest.end(at)
    return rest


def test_a_command_that_runs_is_never_over() -> None:
    rest = Rest()
    rest.came(8 * MIB)
    rest.waited(0.0, 1000.0)
    assert (rest.ended, rest.patience(1000.0), rest.is_over(1000.0)) == (False, None, False)


def test_bytes_may_come_for_a_moment_after_the_end() -> None:
    rest = ended()
    rest.came(8 * MIB)
    rest.waited(99.0, 100.1)  # for bytes of before its end
    assert not rest.is_over(100.1)
    assert rest.patience(100.1) == pytest.approx(0.05)


def test_a_slow_reader_still_gets_what_is_in_the_pipes() -> None:
    """Time that the reader lets pass is not time spent waiting for the command."""
    rest = ended()
    rest.came(MIB)
    assert not rest.is_over(200.0)
    assert rest.patience(200.0) == pytest.approx(0.05)


def test_what_waits_for_nothing_is_over() -> None:
    rest = ended()
    rest.waited(100.2, 100.23)
    assert not rest.is_over(100.23)
    assert rest.patience(100.23) == pytest.approx(0.02)
    rest.waited(100.23, 100.26)
    assert rest.is_over(100.26)
    assert rest.patience(100.26) == pytest.approx(0.001)  # never none at all: whoever waits gives others their turn


def test_output_that_does_not_end_is_cut() -> None:
    rest = ended()
    rest.came(MIB)
    assert not rest.is_over(101.0)
    rest.came(1)
    assert rest.is_over(101.0)
