"""What a provider makes while the tree is still being written: beside it, found by the creation, gone when that fails."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from typing_extensions import override

import nexus
from nexus.abc import ProgressCallback
from nexus.errors import GitError
from nexus.git import Worktree, Worktrees
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceRef, InstanceSpec
from nexus.providers.mock import MockProvider
from nexus.providers.mock.instance import MockInstance
from nexus.providers.registry import ProviderRegistry
from nexus.testing.git import make_repository
from tests.workbench import Bench, leftovers


class Ahead(MockProvider):
    """A mock with something that can be made ahead."""

    made: ClassVar[set[WorkspaceId]] = set()
    begun = anyio.Event()

    async def make_ahead(self, spec: InstanceSpec) -> None:
        assert spec.mounts == ()
        self.made.add(spec.id)
        self.begun.set()

    @override
    async def destroy(self, ref: InstanceRef) -> None:
        self.made.discard(ref.id)
        await super().destroy(ref)


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    make_repository(tmp_path / "app", {"a": "a\n"})
    Ahead.made, Ahead.begun = set(), anyio.Event()
    registry = ProviderRegistry.installed()
    registry.register("mock", Ahead, replace=True)
    return Bench("mock", tmp_path / "app", {"backend": "mock"}, registry)


async def test_it_is_made_beside_the_tree(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Worktrees.create

    async def waits(self: Worktrees, *args: object, **options: object) -> Worktree:
        await Ahead.begun.wait()  # nobody would ever set it, were the tree written first
        return await write(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Worktrees, "create", waits)
    async with bench.open() as nx:
        ws = await nx.create("a")
        assert Ahead.made == {ws.id}
        await ws.destroy()
    assert Ahead.made == set()


class Together(Ahead):
    """What is made ahead is ready only when the rest is made."""

    rest = anyio.Event()
    log: ClassVar[list[str]] = []

    @override
    async def make_ahead(self, spec: InstanceSpec) -> None:
        await self.rest.wait()
        self.log.append("ahead")

    @override
    async def create(self, spec: InstanceSpec, *, progress: ProgressCallback | None = None) -> MockInstance:
        self.log.append("rest")
        self.rest.set()
        return await super().create(spec, progress=progress)


async def test_its_start_alone_waits_for_what_is_made_ahead(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    Together.rest, Together.log = anyio.Event(), []
    assert bench.providers is not None
    bench.providers.register("mock", Together, replace=True)
    start = MockInstance.start

    async def started(self: MockInstance) -> None:
        Together.log.append("start")
        await start(self)

    monkeypatch.setattr(MockInstance, "start", started)
    async with bench.open() as nx:
        ws = await nx.create("a")
        assert Together.log == ["rest", "ahead", "start"]
        await ws.destroy()
    assert await leftovers(bench) == []


async def test_a_creation_that_fails_takes_it_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(self: Worktrees, *args: object, **options: object) -> Worktree:
        await Ahead.begun.wait()
        raise GitError("no tree today")

    monkeypatch.setattr(Worktrees, "create", fails)
    async with bench.open() as nx:
        with pytest.raises(nexus.NexusError, match="no tree today"):
            await nx.create("a")
    assert Ahead.made == set()
    assert await leftovers(bench) == []
