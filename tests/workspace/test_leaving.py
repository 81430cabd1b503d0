"""A switch that is to keep what it leaves takes a checkpoint first: one for each workspace, the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus.errors import ProviderUnavailable
from nexus.models.workspace import WorkspaceStatus
from nexus.testing.git import make_repository
from nexus.workspace.leaving import LEFT
from tests.workbench import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Bench:
    make_repository(tmp_path / "app", {"a": "a\n"})
    bench = make_bench("mock", tmp_path / "app", tmp_path, request)
    bench.flags["defaults.switch"] = "checkpoint"
    return bench


async def test_what_is_left_can_be_gone_back_to(bench: Bench) -> None:
    async with bench.open() as nx:
        one, _ = await nx.create("one"), await nx.create("two")
        await nx.switch("one")
        for text in ("first", "second"):
            await one.fs.write_text("notes", text)
            outcome = await nx.switch("two")
            assert (outcome.previous_status, outcome.warnings) == (WorkspaceStatus.STOPPED, ())
            await nx.switch("one")
        (left,) = await one.checkpoints.list()
        assert left.reason == LEFT
        await one.fs.write_text("notes", "spoiled")
        await one.checkpoints.restore(left.id)
        assert await one.fs.read_text("notes") == "second"


async def test_a_checkpoint_that_fails_does_not_hold_up_the_switch(bench: Bench) -> None:
    assert bench.script is not None
    async with bench.open() as nx:
        one, two = await nx.create("one"), await nx.create("two")
        await nx.switch("one")
        bench.script.fail("keep_place", error=lambda: ProviderUnavailable("no room"))
        outcome = await nx.switch("two")
        assert outcome.warnings == ("no checkpoint of one was taken: no room",)
        assert await one.status() is WorkspaceStatus.STOPPED
        assert await two.status() is WorkspaceStatus.RUNNING
        assert await one.checkpoints.list() == ()
