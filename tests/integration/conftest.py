"""A real repository, a home of its own, and a manager on each backend."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

import nexus
from nexus.models.instances import LABEL_REPOSITORY
from nexus.providers.mock import MockProvider
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own; nothing of the real one is read or written."""
    folder = tmp_path / "home"
    folder.mkdir()
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for name in ("NEXUS_BACKEND", "NEXUS_STATE_DIR", "NEXUS_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Path:
    """A repository with a commit, made by the real git program."""
    root = tmp_path / "app"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "README.md").write_text("# app\n")
    (root / "src").mkdir()
    (root / "src" / "main.py").write_text("print('hello')\n")
    (root / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (root / "run.sh").chmod(0o755)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


@dataclass
class Bench:
    """What a test opens managers with: one backend, one repository."""

    backend: str
    repository: Path
    flags: dict[str, JsonValue]
    providers: ProviderRegistry | None = None
    mock: MockProvider | None = None
    extra: dict[str, JsonValue] = field(default_factory=dict)

    def open(self, **flags: JsonValue) -> nexus.WorkspaceManager:
        return nexus.open(self.repository, flags={**self.flags, **self.extra, **flags}, providers=self.providers)


async def leftovers(bench: Bench) -> list[str]:
    """Everything of ours that is still there, in words."""
    found: list[str] = []
    async with bench.open() as nx:
        found += [f"listed: {entry.name}" for entry in await nx.list()]
        context = nx._open  # the test looks behind the face on purpose
        found += [f"claim: {claim.name}" for claim in await context.registry.claims(repository=context.repository.root)]
        found += [f"lease: {row.port}" for row in await context.registry.leases()]
        found += [f"journal: {entry.name}" for entry in await context.journal.unfinished()]
        provider = await context.provider(bench.backend)
        found += [
            f"instance: {status.ref.name}"
            for status in await provider.list({LABEL_REPOSITORY: str(context.repository.root)})
        ]
    found += [f"branch: {line.strip()}" for line in git(bench.repository, "branch", "--list", "nexus/*").splitlines()]
    trees = git(bench.repository, "worktree", "list", "--porcelain").count("worktree ") - 1
    found += [f"worktrees: {trees}"] if trees else []
    kept = bench.repository / ".nexus" / "worktrees"
    found += [f"folder: {path}" for path in kept.iterdir()] if kept.exists() else []
    return found


@pytest.fixture(params=["mock", "local", pytest.param("docker", marks=pytest.mark.docker)])
async def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """Each backend in turn; afterwards everything is destroyed and nothing may be left."""
    made = make_bench(request.param, repository, tmp_path, request)
    yield made
    async with made.open() as nx:
        for entry in await nx.list():
            if isinstance(entry, nexus.WorkspaceInfo):
                await nx.destroy(entry.name, force=True)
    assert await leftovers(made) == []


def make_bench(backend: str, repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    if backend == "mock":
        provider = MockProvider()
        registry = ProviderRegistry.installed()
        registry.register("mock", lambda options: provider)
        return Bench("mock", repository, {"backend": "mock"}, registry, provider)
    if backend == "local":
        return Bench("local", repository, {"backend": "local"})
    engine = request.getfixturevalue("engine")
    image = request.getfixturevalue("test_image")
    return Bench("docker", repository, {"backend": "docker", "backends.docker.socket": engine, "image": image})
