"""A short day's work leaves nothing behind: counted in things, never in time."""

from __future__ import annotations

import pytest

from benchmarks.soak import Load, Outcome, place, section, soak

SMALL = Load(commands=20, switches=4, workspaces=2, printed=1 << 18)
FIRST = Load(commands=10, switches=2, workspaces=1, printed=1 << 16)


@pytest.mark.slow
async def test_commands_switches_and_workspaces_leave_nothing_on_this_host() -> None:
    async with place("local") as (nx, docker, machine):
        outcome = await soak(nx, SMALL, docker, warm_up=FIRST)
        assert [entry.name for entry in await nx.list()] == []
    assert outcome.grown == ()
    assert "Nothing has grown." in section(machine, outcome)


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_commands_switches_and_workspaces_leave_nothing_on_an_engine(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine)
    async with place("docker") as (nx, docker, _):
        outcome = await soak(nx, SMALL, docker, warm_up=FIRST)
    assert outcome.before.containers == 2
    assert outcome.grown == ()


@pytest.mark.slow
async def test_what_has_grown_is_named() -> None:
    async with place("local") as (nx, docker, machine):
        outcome = await soak(nx, FIRST, docker, warm_up=FIRST)
    leaked = outcome.after.__class__(**{**outcome.after.__dict__, "descriptors": outcome.before.descriptors + 1})
    worse = Outcome(load=outcome.load, before=outcome.before, halfway=outcome.halfway, after=leaked, seconds=1.0)
    assert worse.grown == ("descriptors",)
    assert "Grown: descriptors." in section(machine, worse)
