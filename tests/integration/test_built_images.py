"""Images that were built on the way to workspaces go when none needs them any more."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import nexus
from nexus.models.built_images import BuiltImage
from nexus.models.instances import LABEL_WORKSPACE
from nexus.models.rescues import PruneAction
from nexus.providers.docker.provider import DockerProvider
from nexus.workspace.image_pruning import keeps
from tests.engine.raw import RawEngine
from tests.workbench import git, leftovers, make_bench

NOW = datetime(2026, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "used", "kept"),
    [(1, False, "younger than 14d"), (13, False, "younger than 14d"), (14, False, None), (400, True, "made from it")],
)
def test_which_go(days: int, used: bool, kept: str | None) -> None:
    image = BuiltImage(name="nexus-build:1", made_at=NOW - timedelta(days=days), size=1, used=used)
    reason = keeps(image, now=NOW, keep_for=timedelta(days=14))
    assert reason is None if kept is None else kept in (reason or "")


@pytest.mark.docker
@pytest.mark.slow
async def test_one_stays_while_a_workspace_is_made_from_it(
    repository: Path, tmp_path: Path, test_image: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = RawEngine(request.getfixturevalue("engine"))
    (repository / "Dockerfile").write_text(f"FROM {test_image}\nLABEL own={uuid.uuid4().hex}\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "image")
    bench = make_bench("docker", repository, tmp_path, request)
    flags = {**bench.flags, "defaults.dockerfile": "Dockerfile"}
    everything = DockerProvider.built_images

    async def own(provider: DockerProvider) -> tuple[BuiltImage, ...]:
        """Other tests build images on this engine, which are not to be pruned between two of their steps."""
        return tuple(one for one in await everything(provider) if one.name == image)

    monkeypatch.setattr(DockerProvider, "built_images", own)

    async def about(nx: nexus.WorkspaceManager, *, dry_run: bool = False) -> PruneAction | None:
        told = await nx.prune(dry_run=dry_run)
        return next((one for one in told if one.kind == "image"), None)

    async with nexus.open(repository, flags=flags) as nx:
        ws = await nx.create("a")
        (container,) = raw.labelled(f"{LABEL_WORKSPACE}={ws.id}")["containers"]
        image = str(raw.container(container)["Config"]["Image"])
        assert image.startswith("nexus-build:")
        kept = await about(nx)
        assert kept is not None
        assert (kept.action, kept.reason) == ("kept", "a workspace is made from it")
        await ws.destroy()
    assert await leftovers(bench) == []
    async with nexus.open(repository, flags=bench.flags) as nx:
        young = await about(nx)
        assert young is not None
        assert (young.action, young.reason) == ("kept", "younger than 14d")
    raw.call("POST", f"/images/{image}/tag?repo=nexus-other&tag={image.partition(':')[2]}")
    async with nexus.open(repository, flags={**bench.flags, "prebuild.keep_for": "1ms"}) as nx:
        planned = await about(nx, dry_run=True)
        assert planned is not None
        assert planned.action == "would-remove"
        removed = await about(nx)
        assert removed is not None
        assert removed.action == "removed"
        assert await about(nx) is None
        provider_says = raw.call("GET", f"/images/nexus-other:{image.partition(':')[2]}/json")[0]
        assert provider_says == 200, "only the name that was given here is taken away"
    raw.call("DELETE", f"/images/nexus-other:{image.partition(':')[2]}?force=1")
