"""Fixtures that tests of more than one package use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.dealing import pytest_collection_finish, pytest_collection_modifyitems
from tests.engine.fixtures import criu_engine, engine, test_image
from tests.engine.git_image import git_image, new_git_image
from tests.engine.seed_images import seed_images
from tests.engine.service_image import service_image
from tests.engine.ssh_image import ssh_image
from tests.faults.table import pytest_terminal_summary
from tests.isolation import new_runtime, session_place, settle_in
from tests.sweeping import Sweep
from tests.tidying import pytest_runtest_makereport, tidy
from tests.workbench import git

# Everybody judges by the same examples every time; who wants to search on says so.
# Neither is about speed: an example may take as long as a busy machine needs.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("judge", settings.get_profile("search"), derandomize=True)
settings.load_profile("search" if os.environ.get("NEXUS_SEARCH") else "judge")

__all__ = [
    "criu_engine",
    "engine",
    "first_repository",
    "git_image",
    "home",
    "new_git_image",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "repository",
    "seed_images",
    "service_image",
    "session_place",
    "ssh_image",
    "test_image",
]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the one that hands out tests to workers, or runs them itself
        config.pluginmanager.register(Sweep())


@pytest.fixture
def home(
    tmp_path: Path, session_place: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A home folder of its own; nothing of other tests is in it."""
    folder, runtime = tmp_path / "home", new_runtime(session_place)
    settle_in(monkeypatch, folder, runtime)
    yield folder
    tidy(request.node, tmp_path, runtime)


@pytest.fixture(scope="session")
def first_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a commit, made by the real git program, to be copied."""
    root = tmp_path_factory.mktemp("first") / "app"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "README.md").write_text("# app\n")
    (root / "src").mkdir()
    (root / "src" / "main.py").write_text("print('hello')\n")
    (root / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (root / "run.sh").chmod(0o755)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    for sample in (root / ".git" / "hooks").iterdir():
        sample.unlink()
    return root


@pytest.fixture
def repository(tmp_path: Path, home: Path, first_repository: Path) -> Path:
    """A repository with a commit, as the real git program made it."""
    root = tmp_path / "app"
    shutil.copytree(first_repository, root, symlinks=True)
    git(root, "update-index", "--refresh")
    return root
