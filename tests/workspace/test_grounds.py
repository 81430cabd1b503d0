"""On a shared node trees may be kept in a folder of each user: placed, found, recovered and destroyed there, and nowhere else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

import nexus
from nexus import grounds
from nexus.config import ConfigStack
from nexus.errors import NexusError, RecordDamaged, StateError, UnsavedWork
from nexus.git import find_repository
from tests.workbench import git


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return write_node(tmp_path)


def write_node(tmp_path: Path, more: str = "", *, root: bool = True) -> Path:
    file = tmp_path / "node.yaml"
    where = f", workspace_root: {tmp_path / 'shared'}" if root else ""
    file.write_text(f"multi_user: {{enabled: true{where}{more}}}\ndefaults: {{backend: local}}\n")
    return file


def manager(repository: Path, home: Path, node: Path) -> nexus.WorkspaceManager:
    env = {"HOME": str(home), "NEXUS_STATE_DIR": str(home / "node-state"), "PATH": os.environ["PATH"]}
    return nexus.open(repository, config=ConfigStack.load(repository, env=env, node_file=node), env=env)


def grounds_of(repository: Path) -> Path | None:
    return grounds.noted(repository, repository / ".git")


async def test_a_life_elsewhere(repository: Path, home: Path, node: Path, tmp_path: Path) -> None:
    async with manager(repository, home, node) as nx:
        ws = await nx.create("a")
        tree = ws.info.worktree_path
        place = grounds_of(repository)
        assert place is not None
        assert tree == place / "worktrees" / "a"
        assert place.parent == tmp_path / "shared" / grounds.owner_of(repository)[2]
        assert not (repository / ".nexus" / "worktrees" / "a").exists()
        assert stat.S_IMODE(place.parent.stat().st_mode) == stat.S_IMODE(place.stat().st_mode) == 0o700
        await ws.start()
        assert (await ws.exec("pwd")).stdout.strip() == str(tree)
        await ws.fs.write_text("notes.md", "work")
        with pytest.raises(UnsavedWork):
            await ws.destroy()
    async with manager(repository, home, node) as nx:  # found again
        found = await nx.get("a")
        assert found.worktree_path == tree
        await nx.destroy("a", force=True)
        assert not tree.exists()
    assert list((place / "trash").glob("[!.]*")) == []
    async with manager(repository, home, node) as nx:  # and its work brought back there
        again = await nx.restore("a")
        assert (again.info.worktree_path / "notes.md").read_text() == "work"
        assert again.info.worktree_path == tree
        await nx.destroy("a", force=True)


async def test_a_private_clone_elsewhere(repository: Path, home: Path, node: Path) -> None:
    async with manager(repository, home, node) as nx:
        ws = await nx.create("c", settings={"isolation": "clone"})
        assert ws.info.worktree_path.is_relative_to(grounds_of(repository) or "/nowhere")
        assert git(ws.info.worktree_path, "status", "--porcelain") == ""
        await ws.destroy()


async def test_any_folder_in_a_tree_leads_to_its_own_repository(
    repository: Path, home: Path, node: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    async with manager(repository, home, node) as nx:
        tree = (await nx.create("a")).info.worktree_path
        (tree / ".git").write_text(f"gitdir: {other / '.git'}\n")  # what a program in there could do
        (tree / "deep").mkdir()
        (tree / ".nexus").mkdir()
        (tree / ".nexus" / "config.yaml").write_text("env: {PLANTED: yes}\n")
        assert (await find_repository(tree / "deep")).root == repository
        stack = ConfigStack.load(tree / "deep", env={"HOME": str(home)}, node_file=node)
        assert stack.settings.project_root == repository
        assert "PLANTED" not in stack.settings.env
        await nx.destroy("a", force=True)


async def test_a_planted_note_leads_nowhere(repository: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    (hostile / "worktrees" / "a").mkdir(parents=True)
    git(hostile, "init", "-q")
    (hostile / "repository").write_text(str(repository))
    assert (await find_repository(hostile / "worktrees" / "a")).root == hostile
    (hostile / ".git" / "info").mkdir(exist_ok=True)
    (hostile / ".git" / "info" / grounds.NOTE).write_text(str(tmp_path))
    assert grounds.noted(hostile, hostile / ".git") is None


async def test_a_record_that_names_another_tree_is_not_believed(repository: Path, home: Path, node: Path) -> None:
    async with manager(repository, home, node) as nx:
        await nx.create("a")
        file = repository / ".nexus" / "state" / "workspaces" / "a.json"
        kept = file.read_text()
        record = json.loads(kept)
        record["worktree_path"] = str(repository / ".nexus" / "worktrees" / "a")
        file.write_text(json.dumps(record))
        with pytest.raises(RecordDamaged):
            await nx.get("a")
        file.write_text(kept)
        await nx.destroy("a")


async def test_what_was_made_before_stays_reachable_when_the_node_changes_its_mind(
    repository: Path, home: Path, node: Path, tmp_path: Path
) -> None:
    write_node(tmp_path, root=False)
    async with manager(repository, home, node) as nx:
        await nx.create("old")
    write_node(tmp_path)
    async with manager(repository, home, node) as nx:
        beside = (await nx.create("new")).info.worktree_path
        assert beside == repository / ".nexus" / "worktrees" / "new"
        assert any(finding.check == "workspace_root" for finding in await nx.doctor())
        await nx.destroy("old")
        await nx.destroy("new")
    async with manager(repository, home, node) as nx:
        assert (await nx.create("new")).info.worktree_path.is_relative_to(tmp_path / "shared")
    write_node(tmp_path, root=False)  # and back again
    async with manager(repository, home, node) as nx:
        assert [entry.name for entry in await nx.list()] == ["new"]
        await nx.destroy("new")
    async with manager(repository, home, node) as nx:
        assert (await nx.create("x")).info.worktree_path == repository / ".nexus" / "worktrees" / "x"
        assert grounds_of(repository) is None
        await nx.destroy("x")


@pytest.mark.parametrize("place", ["user", "grounds"])
async def test_a_link_in_the_way_is_not_followed(
    repository: Path, home: Path, node: Path, tmp_path: Path, place: str
) -> None:
    wanted = grounds.grounds_for(tmp_path / "shared", grounds.owner_of(repository)[2], repository)
    stands = wanted.parent if place == "user" else wanted
    stands.parent.mkdir(parents=True)
    target = tmp_path / "elsewhere"
    target.mkdir()
    stands.symlink_to(target)
    with pytest.raises(StateError, match=r"multi_user\.workspace_root"):
        async with manager(repository, home, node):
            pass
    assert list(target.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder to somebody else")
async def test_another_users_folder_is_not_used(repository: Path, home: Path, node: Path, tmp_path: Path) -> None:
    squatted = tmp_path / "shared" / grounds.owner_of(repository)[2]
    squatted.mkdir(parents=True)
    os.chown(squatted, 12345, 12345)
    with pytest.raises(NexusError, match="belongs to the user with id 12345") as refused:
        async with manager(repository, home, node) as nx:
            await nx.create("a")
    assert "install -d -m 700" in (refused.value.hint or "")


async def test_users_may_see_each_others_where_the_node_says_so(repository: Path, home: Path, tmp_path: Path) -> None:
    node = write_node(tmp_path, ", isolation: {workspaces: false}")
    async with manager(repository, home, node) as nx:
        ws = await nx.create("a")
        assert stat.S_IMODE(ws.info.worktree_path.parents[2].stat().st_mode) == 0o755
        await ws.destroy()


def test_names_are_words_of_a_path() -> None:
    assert grounds.grounds_for(Path("/w"), "../x", Path("/src/my app")).parent == Path("/w/x")
    one, two = (grounds.grounds_for(Path("/w"), "a", Path(p, "app")) for p in ("/one", "/two"))
    assert one != two
    assert one.name.startswith("app-")
