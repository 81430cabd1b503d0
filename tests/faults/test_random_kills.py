"""``kill -9`` of ``boulder ws create`` at random moments: the next command answers, ``doctor --fix`` leaves nothing half-made."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests import warm
from tests.workbench import Bench, leftovers, make_bench

ROUNDS = 20
LONGEST = {"local": 0.15, "docker": 0.6}
"""Seconds after its first trace on disk within which a creation is killed; about as long as one takes."""


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Bench:
    return make_bench(request.param, repository, tmp_path, request)


def boulder(place: Bench, *words: str) -> list[str]:
    settings = [word for key, value in place.flags.items() for word in ("--set", f"{key}={value}") if key != "backend"]
    return ["--project", str(place.repository), "--backend", place.backend, *settings, *words]


def run(place: Bench, *words: str) -> subprocess.CompletedProcess[bytes]:
    done = warm.run(boulder(place, *words), cwd=Path.cwd(), env=environment())
    assert b"Traceback" not in done.stderr
    return done


def wait_for_the_journal(place: Bench, child: warm.Started) -> None:
    """Wait until the creation has begun: before, there is nothing to be half-made."""
    journal = place.repository / ".nexus" / "state" / "journal"
    while child.poll() is None and not (journal.exists() and any(journal.iterdir())):
        time.sleep(0.001)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_twenty_random_kills_leave_nothing_half_made(place: Bench) -> None:
    chance = random.Random(20)
    hit = 0
    for number in range(ROUNDS):
        child = warm.start(boulder(place, "ws", "create", f"w{number}"), cwd=Path.cwd(), env=environment())
        wait_for_the_journal(place, child)
        try:
            child.wait(timeout=chance.uniform(0.0, LONGEST[place.backend]))
        except TimeoutError:
            child.kill()
            hit += child.wait() != 0
        if number % 4 == 0:
            listed = run(place, "ws", "list", "--json")
            assert listed.returncode == 0, listed.stderr
    assert hit >= ROUNDS // 4, "the kills came too late to prove anything"
    assert run(place, "doctor", "--fix").returncode in {0, 1}
    for entry in json.loads(run(place, "ws", "list", "--json").stdout):
        # What is listed is whole: it works, and goes without force.
        assert entry["status"] == "running"
        assert run(place, "ws", "exec", entry["name"], "--", "true").returncode == 0
        assert run(place, "ws", "destroy", entry["name"]).returncode == 0
    assert await leftovers(place) == []
