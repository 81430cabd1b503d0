"""A switch asks about both workspaces before it has their locks; what somebody else does meanwhile still counts."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from nexus.models.workspace import WorkspaceStatus
from nexus.testing.git import make_repository
from nexus.workspace import running, switching
from tests.workbench import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Bench:
    make_repository(tmp_path / "app", {"a": "a\n"})
    return make_bench("mock", tmp_path / "app", tmp_path, request)


@pytest.mark.parametrize(
    ("name", "act", "left"),
    [
        ("b", "stop", WorkspaceStatus.PAUSED),
        ("b", "resume", WorkspaceStatus.PAUSED),
        ("b", "nothing", WorkspaceStatus.PAUSED),
        ("a", "stop", WorkspaceStatus.STOPPED),
        ("a", "pause", WorkspaceStatus.PAUSED),
    ],
)
async def test_what_another_did_meanwhile_is_seen(
    bench: Bench, name: str, act: str, left: WorkspaceStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = anyio.Event()
    ahead = switching._look_ahead

    async def tells(*args: object) -> switching.Ahead:
        found = await ahead(*args)  # type: ignore[arg-type]
        looked.set()
        return found

    async with bench.open() as nx:
        for each in ("a", "b"):
            await nx.create(each)
        await nx.switch("b")
        await nx.switch("a")  # b is paused
        monkeypatch.setattr(switching, "_look_ahead", tells)
        context = nx._open
        async with anyio.create_task_group() as group, context.workspace_lock(name, "testing"):
            group.start_soon(nx.switch, "b")
            await looked.wait()  # the switch has seen both, and waits for the lock
            record = await context.record(name)
            match act:
                case "stop":
                    await running.stop(context, record, grace=1.0)
                case "resume":
                    await running.resume(context, record)
                case "pause":
                    await running.pause(context, record)
                case _:
                    pass
        assert (await nx.get("b")).status is WorkspaceStatus.RUNNING
        assert (await nx.get("a")).status is left
        assert await nx.current() == "b"
