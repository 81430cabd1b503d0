"""On a shared node a user's folders are closed to others; and limits count by who somebody is, not by who they say they are."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import nexus
from nexus.config import ConfigStack
from nexus.errors import StateError
from nexus.workspace.quota import user_name
from tests.workbench import git

SHARED = "multi_user: {enabled: true}\ndefaults: {backend: mock}\n"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    file = tmp_path / "node.yaml"
    file.write_text(SHARED)
    return file


def manager(repository: Path, home: Path, node: Path) -> nexus.WorkspaceManager:
    env = {"HOME": str(home), "NEXUS_STATE_DIR": str(home / "node-state")}
    return nexus.open(repository, config=ConfigStack.load(repository, env=env, node_file=node), env=env)


def modes(repository: Path) -> dict[str, int]:
    names = (".nexus/worktrees", ".nexus/state", ".nexus")
    return {name: stat.S_IMODE((repository / name).stat().st_mode) for name in names if (repository / name).exists()}


async def test_folders_are_closed_from_the_first_moment(repository: Path, home: Path, node: Path) -> None:
    async with manager(repository, home, node) as nx:
        ws = await nx.create("a")
        assert modes(repository)[".nexus/worktrees"] == modes(repository)[".nexus/state"] == 0o700
        assert modes(repository)[".nexus"] & 0o055 == 0o055  # what is committed there may be read
        assert git(ws.info.worktree_path, "status", "--porcelain") == ""
        await ws.destroy()


async def test_folders_that_were_open_are_closed_when_the_repository_is_opened(
    repository: Path, home: Path, node: Path
) -> None:
    node.write_text(SHARED.replace("true", "true, isolation: {workspaces: false}"))
    async with manager(repository, home, node) as nx:
        ws = await nx.create("a")
        (repository / ".nexus" / "worktrees").chmod(0o755)
        (repository / ".nexus" / "state").chmod(0o755)
        await nx.stop("a")
        assert modes(repository)[".nexus/worktrees"] == 0o755
    node.write_text(SHARED)
    async with manager(repository, home, node) as nx:
        assert modes(repository)[".nexus/worktrees"] == modes(repository)[".nexus/state"] == 0o700
        await nx.destroy(ws.name)


async def test_opening_makes_nothing(repository: Path, home: Path, node: Path) -> None:
    async with manager(repository, home, node) as nx:
        assert await nx.list() == ()
    assert not (repository / ".nexus" / "worktrees").exists()


@pytest.mark.parametrize("where", [".nexus", ".nexus/worktrees"])
async def test_a_link_in_their_place_is_not_followed(
    repository: Path, home: Path, node: Path, tmp_path: Path, where: str
) -> None:
    target = tmp_path / "elsewhere"
    (target / "worktrees").mkdir(parents=True)
    (target / "worktrees").chmod(0o755)
    (repository / where).parent.mkdir(exist_ok=True)
    (repository / where).symlink_to(target)
    with pytest.raises(StateError, match="cannot be closed to other users"):
        async with manager(repository, home, node):
            pass
    assert stat.S_IMODE((target / "worktrees").stat().st_mode) == 0o755


def test_a_name_in_the_environment_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    assert user_name() == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody without a name")
def test_somebody_without_a_name_is_a_number() -> None:
    program = "import os; from nexus.workspace.quota import user_name; os.setuid(987654); print(user_name())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "987654", done.stderr
