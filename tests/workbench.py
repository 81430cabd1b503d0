"""What end-to-end tests work with: a backend, a repository, and a look at everything that may be left behind."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import nexus
from nexus.models.instances import LABEL_REPOSITORY, InstanceState
from nexus.models.trust import Approve
from nexus.providers.mock import MockProvider, MockScript, MockWorld
from nexus.providers.registry import ProviderRegistry


def git(cwd: Path, *args: str) -> str:
    """Run the real git program, which sees no configuration but the repository's."""
    done = subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", *args],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def configure(repository: Path, text: str) -> None:
    """Write the project's file."""
    (repository / ".nexus").mkdir(exist_ok=True)
    (repository / ".nexus" / "config.yaml").write_text(text)


@dataclass
class Bench:
    """What a test opens managers with: one backend, one repository."""

    backend: str
    repository: Path
    flags: dict[str, JsonValue]
    providers: ProviderRegistry | None = None
    script: MockScript | None = None
    world: MockWorld | None = None
    extra: dict[str, JsonValue] = field(default_factory=dict)
    approve: Approve | None = None

    def open(self, **flags: JsonValue) -> nexus.WorkspaceManager:
        return nexus.open(
            self.repository,
            flags={**self.flags, **self.extra, **flags},
            providers=self.providers,
            approve=self.approve,
        )


async def end(bench: Bench) -> None:
    """Destroy everything at once; nothing may be left."""
    async with bench.open() as nx, anyio.create_task_group() as group:
        for entry in await nx.list():
            group.start_soon(partial(nx.destroy, entry.name, force=True))
    assert await leftovers(bench) == []


async def leftovers(bench: Bench) -> list[str]:
    """Everything of ours that is still there, in words."""
    found: list[str] = []
    async with bench.open() as nx:
        found += [f"listed: {entry.name}" for entry in await nx.list()]
        context = nx._open  # the test looks behind the face on purpose
        found += [f"claim: {claim.name}" for claim in await context.registry.claims(repository=context.repository.root)]
        found += [f"lease: {row.port}" for row in await context.registry.leases()]
        found += [f"journal: {entry.name}" for entry in await context.journal.unfinished()]
        provider, ours = (
            await context.backends.provider(bench.backend),
            {LABEL_REPOSITORY: str(context.repository.root)},
        )
        instances = await provider.list(ours)
        while any(status.state is InstanceState.GONE for status in instances):
            # An engine goes on with what a killed process had asked for, also when recovery has looked meanwhile: gc finds it.
            await nx.gc()
            instances = await provider.list(ours)
        found += [f"instance: {status.ref.name}" for status in instances]
    found += [f"branch: {line.strip()}" for line in git(bench.repository, "branch", "--list", "nexus/*").splitlines()]
    trees = git(bench.repository, "worktree", "list", "--porcelain").count("worktree ") - 1
    found += [f"worktrees: {trees}"] if trees else []
    kept = bench.repository / ".nexus" / "worktrees"
    found += [f"folder: {path}" for path in kept.iterdir()] if kept.exists() else []
    return found


def make_bench(backend: str, repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    if backend == "mock":
        script, world = MockScript(), MockWorld()
        registry = ProviderRegistry.installed()
        registry.register("mock", lambda options: MockProvider(options, script=script, world=world), replace=True)
        return Bench("mock", repository, {"backend": "mock"}, registry, script, world)
    if backend == "local":
        return Bench("local", repository, {"backend": "local"})
    engine = request.getfixturevalue("engine")
    image = request.getfixturevalue("test_image")
    return Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine, "image": image})
