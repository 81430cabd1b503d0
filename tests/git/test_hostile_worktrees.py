"""An agent owns its worktree and its entry in git. Nothing it writes there is run or obeyed on the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexus.git import Worktree, Worktrees, find_repository
from tests.git.oracle import REASON, Git

TRICKS = ["pointer", "commondir", "worktree config", "nested hooks", "attributes", "gitdir", "everything"]


@pytest.fixture
async def made(git: Git, worktrees: Worktrees) -> Worktree:
    upstream = git.root.parent / "upstream"
    git.run("clone", "-q", str(git.root), str(upstream))
    git.run("remote", "add", "origin", str(upstream))
    Git(upstream, git.env).commit("news")
    return await worktrees.create("one", reason=REASON)


def plant(git: Git, made: Worktree, trick: str, marker: Path) -> None:
    """Do what an agent with write access to its tree and its entry can do."""
    command = f"touch {marker}"
    evil = made.path / "evil"
    evil.mkdir()
    git.run("init", "-q", "--bare", str(evil))
    config = (
        f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = \"{command}; false\"\n\thooksPath = {evil}/hooks\n"
        f"\tsshCommand = \"{command}; false\"\n\tpager = \"{command}\"\n[filter \"x\"]\n\tclean = \"{command}; cat\"\n"
        f"\tsmudge = \"{command}; cat\"\n\tprocess = \"{command}\"\n[credential]\n\thelper = \"!{command}\"\n"
        f"[uploadpack]\n\tpackObjectsHook = \"{command}\"\n"
    )  # fmt: skip
    (evil / "config").write_text(config)
    for hook in (
        "post-checkout",
        "reference-transaction",
        "post-index-change",
        "post-merge",
        "pre-auto-gc",
        "fsmonitor-watchman",
    ):
        file = evil / "hooks" / hook
        file.write_text(f"#!/bin/sh\n{command}\n")
        file.chmod(0o755)
    if trick in {"pointer", "everything"}:
        (made.path / ".git").write_text(f"gitdir: {evil}\n")
    if trick in {"commondir", "everything"}:
        (made.admin_dir / "commondir").write_text(f"{evil}\n")
    if trick in {"worktree config", "everything"}:
        (made.admin_dir / "config.worktree").write_text(config)
        (made.admin_dir / "config").write_text(config)
        git.run("config", "extensions.worktreeConfig", "true")
    if trick in {"nested hooks", "everything"}:
        (made.admin_dir / "hooks").symlink_to(evil / "hooks")
    if trick in {"attributes", "everything"}:
        (made.path / ".gitattributes").write_text("* filter=x\n")
        (made.admin_dir / "info").mkdir()
        (made.admin_dir / "info" / "attributes").write_text("* filter=x\n")
    if trick in {"gitdir", "everything"}:
        (made.admin_dir / "gitdir").write_text(f"{evil}/.git\n")
    (made.path / "README.md").write_text("work of the agent\n")


@pytest.mark.parametrize("trick", TRICKS)
async def test_nothing_of_it_runs(git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path, trick: str) -> None:
    marker = tmp_path / "ran"
    plant(git, made, trick, marker)
    report = await worktrees.report("one")
    assert "README.md" in report.modified or report.unknown
    assert [worktree.name for worktree in await worktrees.list()] == ["one"]
    found = await worktrees.get("one")
    assert found is not None
    assert found.head == made.head
    assert (await find_repository(made.path)).root == git.root
    for hook in ("HEAD", "config", "objects", "refs", "description", "branches", "hooks", "info"):
        victim = made.path / "evil" / hook
        victim.rename(victim.with_name(f"_{hook}"))  # no longer a repository, so that it can be rescued
    ref = await worktrees.rescue("one")
    assert git.run("show", f"{ref}:README.md") == "work of the agent\n"
    (made.path / "README.md").write_text("hello\n")
    await worktrees.sync("one")
    await worktrees.create("two", reason=REASON)
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert not marker.exists()
    assert git.status(git.root) == ""


async def test_the_trap_would_have_sprung_with_plain_git(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    """The same trick against the git program: otherwise the tests above could not fail."""
    marker = tmp_path / "ran"
    plant(git, made, "commondir", marker)
    git.run("status", cwd=made.path, check=False)
    assert marker.exists()


@pytest.mark.parametrize("what", ["index", "HEAD", "locked", "gitdir", "nexus-base", "logs"])
async def test_a_link_or_pipe_in_the_entry_leads_nowhere(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path, what: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's secret\n")
    for kind in ("link", "pipe"):
        file = made.admin_dir / what
        if file.is_dir() and not file.is_symlink():
            file.rename(made.admin_dir / "old")
        else:
            file.unlink()
        if kind == "link":
            file.symlink_to(secret)
        else:
            os.mkfifo(file)
        report = await worktrees.report("one")
        assert "secret" not in str(report)
        assert "host's" not in str(await worktrees.list())
        if what == "logs":
            assert (await worktrees.sync("one")).branch == "nexus/one"
    assert secret.read_text() == "the host's secret\n"
    if what != "locked":
        await worktrees.remove("one", expected_tip=made.head, delete_branch=False)
        assert await worktrees.list() == ()


async def test_a_lock_file_that_is_a_link_is_not_written_through(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    from nexus.errors import Busy

    victim = tmp_path / "victim"
    (made.admin_dir / "index.lock").symlink_to(victim)
    with pytest.raises(Busy):
        await worktrees.sync("one")
    assert not victim.exists()


async def test_ignore_and_attribute_files_may_be_anything(
    git: Git, worktrees: Worktrees, made: Worktree, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("*\n")
    os.mkfifo(made.path / "src" / ".gitignore")
    (made.path / ".gitignore").symlink_to(secret)
    (made.path / ".gitattributes").mkdir()
    (made.path / "new").write_text("x")
    (made.path / "README.md").write_text("HELLO\n")
    report = await worktrees.report("one")
    assert report.modified == ("README.md",)
    assert report.untracked == (".gitignore", "new"), "a linked ignore file ignores nothing"


async def test_patterns_that_explode_do_not_hang_or_crash(worktrees: Worktrees, made: Worktree) -> None:
    (made.path / ".gitignore").write_text("[\n[z-a]\n\\\n!\n/\n[[:nope:]]\n" + "x" * 100_000 + "\n")
    (made.path / "file").write_text("x")
    assert "file" in (await worktrees.report("one")).untracked


async def test_a_pattern_made_to_run_for_ever_ends(git: Git, worktrees: Worktrees, made: Worktree) -> None:
    """Each of these keeps a naive translation to a regular expression busy for longer than anybody waits."""
    (made.path / ".gitignore").write_text("*a" * 30 + "b\n" + "**/a/" * 30 + "b\n" + "[a]*" * 30 + "c\n")
    (made.path / ".gitattributes").write_text("*a" * 30 + "b eol=crlf\n")
    (made.path / ("a" * 250)).write_text("x")
    deep = made.path / "/".join("a" * 60)
    deep.mkdir(parents=True)
    (deep / "leaf").write_text("x")
    report = await worktrees.report("one")
    assert report.untracked == (".gitattributes", ".gitignore", "/".join("a" * 60) + "/leaf", "a" * 250)
    await worktrees.rescue("one")
