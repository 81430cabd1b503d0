"""Clients that come, go, die and do not read leave nothing behind in a daemon: counted in things, never in time."""

from __future__ import annotations

import pytest

from benchmarks.daemon_load import Load, Outcome, run, section


@pytest.mark.slow
async def test_many_clients_and_reconnects_leave_nothing_behind() -> None:
    outcome = await run(Load(clients=20, reconnects=50, slow=3, printed=2 << 20))
    assert outcome.grown == ()
    nobody, crowd, *_ = outcome.moments.values()
    # A daemon that nobody uses may just have a file open.
    assert crowd.descriptors >= nobody.descriptors + 15, "each client has a connection of its own"
    assert "Nothing has grown." in section("a machine", outcome)
    first, *others = outcome.moments
    leaked = outcome.moments[others[-1]].__class__(**{**vars(nobody), "tasks": nobody.tasks + 1})
    worse = Outcome(load=outcome.load, moments={first: nobody, others[-1]: leaked})
    assert worse.grown == ("tasks",)
    assert "Grown: tasks." in section("a machine", worse)
