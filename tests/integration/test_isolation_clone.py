"""Private clones and files that come along, through the manager, on real backends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from pydantic import JsonValue

import nexus
from nexus.errors import UnsavedWork
from tests.workbench import Bench, end, git, make_bench


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
async def real(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """Give each backend that runs real programs; afterwards nothing may be left."""
    made = make_bench(request.param, repository, tmp_path, request)
    yield made
    await end(made)


def commit_in(tree: Path, message: str) -> str:
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", message)
    return git(tree, "rev-parse", "HEAD").strip()


async def test_a_clone_lives_and_its_work_comes_back(real: Bench) -> None:
    root = real.repository
    async with real.open() as nx:
        ws = await nx.create("agent", isolation="clone")
        tree = ws.info.worktree_path
        assert (ws.info.isolation, (tree / ".git").is_dir()) == ("clone", True)
        # Inside, the tree and the objects are there, and nothing of the main repository can be written.
        seen = await ws.exec(
            "sh", "-c", 'cat README.md && cat .git/HEAD && ls "$(cat .git/objects/info/alternates)"', check=True
        )
        assert "# app" in seen.stdout
        assert "ref: refs/heads/nexus/agent" in seen.stdout
        if real.backend == "docker":
            for path in ("config", "hooks", "refs", "HEAD"):
                assert not (await ws.exec("ls", f"{root}/.git/{path}")).ok
            assert not (await ws.exec("touch", f"{root}/.git/objects/planted")).ok
        await ws.exec("sh", "-c", "echo idea > idea.txt", check=True)
        with pytest.raises(UnsavedWork) as refused:
            await ws.destroy()
        assert any("idea.txt" in line for line in refused.value.lost)
        tip = commit_in(tree, "an idea")
        outcome = await ws.sync()
        assert outcome.after == tip
        assert git(root, "rev-parse", "nexus/agent").strip() == tip
        with pytest.raises(UnsavedWork, match="exists nowhere else"):
            await ws.destroy()
        git(root, "merge", "-q", "nexus/agent")
        gone = await ws.destroy()
        assert (gone.rescued, gone.branch_deleted) == (None, True)
        assert not tree.exists()
    assert git(root, "show", "HEAD:idea.txt") == "idea\n"
    assert git(root, "fsck", "--full", "--strict", "--no-dangling") == ""


async def test_force_keeps_what_only_the_clone_has(real: Bench) -> None:
    root = real.repository
    async with real.open(isolation="clone") as nx:
        ws = await nx.create("agent")
        tree = ws.info.worktree_path
        (tree / "done.txt").write_text("committed\n")
        tip = commit_in(tree, "never synced")
        (tree / "half.txt").write_text("half\n")
        gone = await ws.destroy(force=True)
        assert gone.rescued is not None
    assert git(root, "show", f"{gone.rescued}:half.txt") == "half\n"
    assert git(root, "show", f"{gone.rescued}:done.txt") == "committed\n"
    assert tip in git(root, "rev-list", gone.rescued)
    assert git(root, "fsck", "--full", "--strict", "--no-dangling") == ""


async def test_a_clone_stops_starts_and_is_found_again(real: Bench) -> None:
    async with real.open() as nx:
        ws = await nx.create("agent", isolation="clone")
        await ws.stop()
    async with real.open() as nx:
        again = await nx.attach("agent")
        assert again.info.isolation == "clone"
        await again.start()
        assert (await again.exec("cat", "README.md")).stdout == "# app\n"
        await again.destroy()
    assert git(real.repository, "branch", "--list", "nexus/*") == ""


async def test_a_hostile_clone_is_not_destroyed_unseen_and_runs_nothing(real: Bench, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with real.open() as nx:
        ws = await nx.create("agent", isolation="clone")
        script = (
            f"printf '[core]\\n\\tfsmonitor = touch {ran}\\n\\thooksPath = hooks\\n' >> .git/config;"
            " echo /etc > .git/objects/info/alternates; mkdir hooks; printf '#!/bin/sh\\ntouch"
            f" {ran}\\n' > hooks/post-checkout; chmod +x hooks/post-checkout;"
            " echo 1234567890123456789012345678901234567890 > .git/refs/heads/nexus/agent"
        )
        await ws.exec("sh", "-c", script, check=True)
        with pytest.raises(UnsavedWork) as refused:
            await ws.destroy()
        assert any(line.startswith("not known:") for line in refused.value.lost)
        assert [entry.name for entry in await nx.list()] == ["agent"]
        await nx.doctor()
        assert not ran.exists()
        base = git(real.repository, "rev-parse", "HEAD").strip()
        (ws.info.worktree_path / ".git/refs/heads/nexus/agent").write_text(base + "\n")
        await ws.destroy(force=True)
    assert not ran.exists()


async def test_ignored_files_come_along_and_do_not_hold_a_workspace_back(real: Bench) -> None:
    root = real.repository
    (root / ".gitignore").write_text(".env\n.cache/\n")
    (root / ".worktreeinclude").write_text(".env\n")
    commit_in(root, "ignore")
    (root / ".env").write_text("TOKEN=1\n")
    (root / ".cache").mkdir()
    (root / ".cache/x").write_text("x")
    for isolation in ("worktree", "clone"):
        messages: list[str] = []
        coming: dict[str, JsonValue] = {"defaults.worktree_include": [".cache/"]}
        async with real.open(**coming) as nx:
            ws = await nx.create(
                "agent",
                settings={"defaults.isolation": isolation},
                progress=lambda _step, message, _done=None, _total=None, told=messages: told.append(message),
            )
            assert (await ws.exec("cat", ".env", ".cache/x")).stdout == "TOKEN=1\nx"
            assert "came along: 2 ignored files, 9B" in messages
            assert ws.info.annotations["dev.nexus.notes"] == "came along: 2 ignored files, 9B"
            await ws.destroy()


async def test_too_much_to_bring_along_is_refused_whole(real: Bench) -> None:
    root = real.repository
    (root / ".gitignore").write_text("big\n")
    (root / ".worktreeinclude").write_text("big\n")
    commit_in(root, "ignore")
    (root / "big").write_bytes(b"x" * 2000)
    async with real.open(**{"defaults.worktree_include_max": "1K"}) as nx:
        with pytest.raises(nexus.NexusError, match="more than 1KiB"):
            await nx.create("agent")
        assert await nx.list() == ()


async def test_a_destroyed_clone_comes_back_as_a_clone(real: Bench) -> None:
    root = real.repository
    async with real.open() as nx:
        ws = await nx.create("agent", isolation="clone")
        tip = commit_in_clone(ws.info.worktree_path)
        await ws.sync()
        git(root, "merge", "-q", "nexus/agent")
        gone = await ws.destroy()
        assert (gone.rescued, gone.branch_deleted) == (None, True)
        again = await nx.restore("agent")
        assert (again.info.isolation, again.info.branch) == ("clone", "nexus/agent")
        assert (await again.exec("cat", "done.txt")).stdout == "committed\n"
        assert git(again.info.worktree_path, "rev-parse", "HEAD").strip() == tip
        assert [finding for finding in await nx.doctor() if finding.check.startswith("tampering ")] == []
        await again.destroy()


async def test_what_was_rescued_of_a_clone_comes_back_as_a_linked_worktree_and_says_so(real: Bench) -> None:
    async with real.open(isolation="clone") as nx:
        ws = await nx.create("agent")
        tip = commit_in_clone(ws.info.worktree_path)
        (ws.info.worktree_path / "half.txt").write_text("half\n")
        assert (await ws.destroy(force=True)).rescued is not None
        again = await nx.restore("agent")
        assert again.info.isolation == "worktree"
        assert "not as a private clone" in again.info.annotations["dev.nexus.notes"]
        assert (await again.exec("cat", "half.txt", "done.txt")).stdout == "half\ncommitted\n"
        assert git(again.info.worktree_path, "rev-parse", "HEAD").strip() == tip
        assert [finding for finding in await nx.doctor() if finding.check.startswith("tampering ")] == []


async def test_a_branch_that_somebody_else_moved_stays(real: Bench) -> None:
    root = real.repository
    async with real.open() as nx:
        ws = await nx.create("agent", isolation="clone")
        tip = commit_in_clone(ws.info.worktree_path)
        theirs = git(root, "commit-tree", "-p", "HEAD", "-m", "by hand", "HEAD^{tree}").strip()
        git(root, "branch", "-f", "nexus/agent", theirs)
        gone = await ws.destroy(force=True)
        assert gone.branch_deleted is False
        assert git(root, "rev-parse", "nexus/agent").strip() == theirs
        assert tip in git(root, "rev-list", str(gone.rescued)).split()
    git(root, "branch", "-D", "nexus/agent")


def commit_in_clone(tree: Path) -> str:
    (tree / "done.txt").write_text("committed\n")
    return commit_in(tree, "done")
