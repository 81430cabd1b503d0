"""What a clone brings along runs on this host only after its user has approved exactly that."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

import nexus
from nexus.errors import NotTrusted
from nexus.models.trust import TrustItem
from nexus.models.workspace import WorkspaceStatus
from nexus.state import Journal
from nexus.workspace.plan import CreateStep, create_steps
from tests.workbench import Bench, configure, leftovers, make_bench

pytestmark = pytest.mark.timeout(120)
S = WorkspaceStatus


@pytest.fixture
async def clone(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Bench, None]:
    """A repository whose own file names scripts, on a backend that does not isolate."""
    configure(repository, "scripts:\n  pre-start: |\n    echo ran >> ../../../ran\n")
    made = make_bench("local", repository, tmp_path, request)
    yield made
    async with made.open() as nx:
        for entry in await nx.list():
            await nx.destroy(entry.name, force=True)
    assert await leftovers(made) == []


def ran(clone: Bench) -> int:
    trace = clone.repository / "ran"
    return len(trace.read_text().splitlines()) if trace.exists() else 0


async def test_it_is_refused_before_anything_is_made_until_it_is_approved(clone: Bench) -> None:
    async with clone.open() as nx:
        with pytest.raises(NotTrusted) as refused:
            await nx.create("a")
        (line,) = refused.value.unapproved
        config = clone.repository / ".nexus" / "config.yaml"
        assert line == f"pre-start ({config}:2:14): echo ran >> ../../../ran"
        assert "boulder trust" in (refused.value.hint or "")
        assert await nx.list() == ()
    assert await leftovers(clone) == []
    async with clone.open() as nx:
        (review,) = await nx.trust.review()
        assert (review.item.kind, review.approved) == ("pre-start", False)
        await nx.trust.approve([review.item])
        assert [entry.approved for entry in await nx.trust.review()] == [True]
        await nx.create("a")
        assert ran(clone) == 1


async def test_changed_content_asks_again_and_nothing_is_started(clone: Bench) -> None:
    async with clone.open() as nx:
        await nx.trust.approve([review.item for review in await nx.trust.review()])
        await nx.create("a")
        await nx.stop("a")
    configure(clone.repository, "# moved\nscripts:\n  pre-start: |\n    echo ran >> ../../../ran\n")
    async with clone.open() as nx:
        await nx.start("a")
        await nx.stop("a")
        assert ran(clone) == 2
    configure(clone.repository, "scripts:\n  pre-start: |\n    echo ran >> ../../../ran;\n")
    async with clone.open() as nx:
        with pytest.raises(NotTrusted) as refused:
            await nx.start("a")
        assert "boulder trust a" in (refused.value.hint or "")
        assert (await nx.get("a")).status is S.STOPPED
        assert ran(clone) == 2
        await nx.trust.revoke()
        assert await nx.trust.approvals() == ()


async def test_a_callback_is_asked_once_for_each_content(clone: Bench) -> None:
    asked: list[tuple[TrustItem, ...]] = []

    def no(items: tuple[TrustItem, ...]) -> bool:
        asked.append(items)
        return False

    async def yes(items: tuple[TrustItem, ...]) -> bool:
        asked.append(items)
        return True

    configure(clone.repository, "scripts: {pre-start: echo ran >> ../../../ran}\nhooks: {on_wake: 'true'}\n")
    async with nexus.open(clone.repository, flags=clone.flags, approve=no) as nx:
        with pytest.raises(NotTrusted):
            await nx.create("a")
    async with nexus.open(clone.repository, flags=clone.flags, approve=yes) as nx:
        await nx.create("a")
        await nx.create("b")
    assert [[item.kind for item in items] for items in asked] == [["pre-start", "on_wake"]] * 2
    async with nexus.open(clone.repository, flags=clone.flags, approve=no) as nx:
        await nx.stop("a")
        await nx.start("a")
    assert len(asked) == 2
    assert ran(clone) == 3


async def test_what_the_user_wrote_needs_no_approval(clone: Bench, home: Path) -> None:
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text(
        f"workspaces: {{mine: {{path: {clone.repository}}}}}\n"
        "project_overrides: {mine: {scripts: {pre-start: echo user >> ../../../ran}}}\n"
    )
    async with clone.open() as nx:
        assert await nx.trust.review() == ()
        await nx.create("a")
    assert (clone.repository / "ran").read_text() == "user\n"
    async with clone.open(**{"scripts.pre-start": "echo flag >> ../../../ran"}) as nx:
        await nx.stop("a")
        await nx.start("a")
    assert (clone.repository / "ran").read_text() == "user\nflag\n"


async def test_on_the_way_down_what_is_not_approved_is_left_out_and_stops_nothing(clone: Bench) -> None:
    configure(clone.repository, "{}\n")
    async with clone.open() as nx:
        await nx.create("a")
    configure(
        clone.repository,
        "scripts: {pre-stop: echo ran >> ../../../ran}\nhooks: {on_wake: echo ran >> ../../../ran, on_sleep: echo ran >> ../../../ran}\n",
    )
    asked: list[str] = []

    def no(items: tuple[TrustItem, ...]) -> bool:
        asked.extend(item.kind for item in items)
        return False

    async with nexus.open(clone.repository, flags=clone.flags, approve=no) as nx:
        assert (await nx.pause("a")).status is S.PAUSED
        assert asked == []
        info = await nx.resume("a")
        assert asked == ["on_wake"]
        assert (info.status, info.hooks_due) == (S.RUNNING, ("on_wake",))
        assert "not approved" in (info.degraded or "")
        with pytest.raises(NotTrusted):
            await nx.retry_hooks("a")
        info = await nx.stop("a")
        assert info.status is S.STOPPED
        assert "not approved" in (info.degraded or "")
        assert asked == ["on_wake", "on_wake"]
        assert ran(clone) == 0


async def test_a_record_that_a_clone_brings_cannot_smuggle_a_script(clone: Bench) -> None:
    configure(clone.repository, "{}\n")
    async with clone.open() as nx:
        info = (await nx.create("a", start=False)).info
        context = nx._open
        record = await context.records.load("a")
        await context.store.save(
            record.model_copy(update={"config": {"hooks": {"scripts.pre-start": "echo ran >> ../../../ran"}}})
        )
    async with clone.open() as nx:
        with pytest.raises(NotTrusted) as refused:
            await nx.start("a")
        assert "the workspace's own settings" in refused.value.unapproved[0]
        assert [entry.approved for entry in await nx.trust.review(info.name)] == [False]
    assert ran(clone) == 0


async def test_an_isolating_backend_needs_no_approval(repository: Path, tmp_path: Path) -> None:
    """A mock that isolates: the question is about the backend, not about its name."""
    from nexus.models.instances import Capability, ProviderInfo
    from nexus.providers.mock import MockProvider
    from nexus.providers.registry import ProviderRegistry

    class Isolating(MockProvider):
        async def probe(self) -> ProviderInfo:
            info = await super().probe()
            return info.model_copy(update={"capabilities": info.capabilities | {Capability.ISOLATION}})

    class Open(MockProvider):
        async def probe(self) -> ProviderInfo:
            info = await super().probe()
            return info.model_copy(update={"capabilities": info.capabilities - {Capability.ISOLATION}})

    configure(repository, "hooks: {on_wake: 'true'}\n")
    for kind, refused in ((Open, True), (Isolating, False)):
        registry = ProviderRegistry.installed()
        registry.register("mock", kind, replace=True)
        async with nexus.open(repository, flags={"backend": "mock"}, providers=registry) as nx:
            if refused:
                with pytest.raises(NotTrusted):
                    await nx.create("a")
            else:
                ws = await nx.create("a")
                assert ws.info.degraded is None
                await ws.destroy()


async def test_recovery_runs_nothing_that_is_not_approved(clone: Bench) -> None:
    """A journal may come with a clone as well; following it ends with nothing run."""
    configure(clone.repository, "{}\n")
    async with clone.open() as nx:
        info = (await nx.create("a", start=False)).info
        context = nx._open
        record = (await context.records.load("a")).model_copy(
            update={"config": {"hooks": {"scripts.pre-start": "echo ran >> ../../../ran"}}, "status": S.PENDING}
        )
        await context.store.save(record)
    journal = await Journal(clone.repository / ".nexus").begin(
        operation="create",
        workspace=info.id,
        name=info.name,
        plan=create_steps(start=True),
        facts={"record": record.model_dump(mode="json"), "request": {"name": "a"}},
    )
    for step in list(CreateStep)[:-1]:
        await journal.doing(step)
        await journal.done(step)
    async with clone.open() as nx:
        with pytest.raises(NotTrusted):
            await nx.start("a")
        assert await nx._open.journal.unfinished() == ()
        assert (await nx.get("a")).status is S.ERROR
    assert ran(clone) == 0


async def test_a_service_is_a_program_of_the_clones_too(repository: Path) -> None:
    bench = Bench("local", repository, {"backend": "local"})
    (repository / ".nexus").mkdir(exist_ok=True)
    service = "services: {{web: {{command: sleep 1000, env: {{A: {value}}}}}}}\n"
    (repository / ".nexus" / "config.yaml").write_text(service.format(value="1"))
    async with bench.open() as nx:
        with pytest.raises(NotTrusted, match="service web"):
            await nx.create("work")
        assert await nx.list() == ()
        await nx.trust.approve([review.item for review in await nx.trust.review()])
        ws = await nx.create("work")
        await ws.stop()

    # Its environment decides what runs as much as its command does.
    (repository / ".nexus" / "config.yaml").write_text(service.format(value="2"))
    async with bench.open() as nx:
        ws = await nx.attach("work")
        with pytest.raises(NotTrusted, match="service web"):
            await ws.start()
        assert (await nx.get("work")).status is WorkspaceStatus.STOPPED
        await ws.destroy(force=True)
