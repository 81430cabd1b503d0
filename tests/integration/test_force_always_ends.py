"""No workspace is so damaged, and no work so strange, that force does not end; and nothing of it is lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import nexus
from nexus.errors import UnsavedWork
from nexus.state import JournalEntry
from nexus.workspace import destruction
from tests.workbench import Bench, git, leftovers, make_bench


@pytest.fixture
def local(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return make_bench("local", repository, tmp_path, request)


async def test_a_nested_repository_is_set_aside_restored_and_pruned(local: Bench) -> None:
    async with local.open() as nx:
        ws = await nx.create("a")
        await ws.exec("sh", "-c", "mkdir lib && cd lib && git init -q && echo idea > idea", check=True)
        with pytest.raises(UnsavedWork):
            await ws.destroy()
        gone = await ws.destroy(force=True)
        assert str(gone.rescued).startswith("refs/nexus/kept/a/")
        assert gone.branch_deleted
        assert git(local.repository, "status", "--porcelain") == ""
        (kept,) = await nx.rescues()
        assert kept.tree is not None
        assert (kept.tree / "lib/idea").read_text() == "idea\n"
        back = await nx.restore("a")
        assert (await back.exec("cat", "lib/idea")).stdout == "idea\n"
        assert [finding for finding in await nx.doctor() if finding.check.startswith("tampering ")] == []
        # What is destroyed again is set aside again; then both go, with what they held.
        again = await back.destroy(force=True)
        assert again.rescued != gone.rescued
        assert len(await nx.rescues("a")) == 2
        planned = await nx.prune(dry_run=True, older_than=timedelta(0))
        assert {action.action for action in planned if action.kind == "rescue"} == {"would-remove"}
        await nx.prune(older_than=timedelta(0))
        assert await nx.rescues() == ()
        assert not kept.tree.exists()
    assert await leftovers(local) == []
    assert git(local.repository, "for-each-ref", "refs/nexus") == ""


async def test_a_creation_that_fails_late_sets_aside_what_it_cannot_take_back(
    local: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus.workspace import creation

    async def fails(self: creation.Creation) -> None:
        tree = self.record.worktree_path / "lib"
        tree.mkdir()
        git(tree, "init", "-q")
        (tree / "idea").write_text("idea\n")
        raise nexus.NexusError("it does not start")

    monkeypatch.setattr(creation.Creation, "start", fails)
    async with local.open() as nx:
        with pytest.raises(nexus.NexusError, match="does not start"):
            await nx.create("a")
        (kept,) = await nx.rescues()
        assert kept.tree is not None
        assert (kept.tree / "lib/idea").read_text() == "idea\n"
        assert await nx.list() == ()


async def test_a_crash_after_the_tree_is_gone_does_not_forget_whose_the_branch_is(
    local: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = local.repository
    async with local.open(isolation="clone") as nx:
        await nx.create("a", start=False)
        theirs = git(root, "commit-tree", "-p", "HEAD", "-m", "by hand", "HEAD^{tree}").strip()
        git(root, "branch", "-f", "nexus/a", theirs)
        context = nx._open  # the test stands in for a process that was killed
        remove = context.worktrees.remove

        async def killed(*args: object, **options: object) -> bool:
            await remove("a", expected_tip=None, delete_branch=False, behind=True)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(context.worktrees, "remove", killed)
            await nx.destroy("a", force=True)
        entries: list[JournalEntry] = list(await context.journal.unfinished())
        (entry,) = entries
        outcome = await destruction.resume(context, entry)
        assert outcome.branch_deleted is False
    assert git(root, "rev-parse", "nexus/a").strip() == theirs


async def test_what_a_clone_held_beside_is_not_taken_for_the_workspace(local: Bench) -> None:
    root = local.repository
    async with local.open(isolation="clone") as nx:
        ws = await nx.create("a", start=False)
        tree = ws.info.worktree_path
        git(tree, "switch", "-q", "-c", "beside")
        git(tree, "commit", "-q", "--allow-empty", "-m", "beside")
        git(tree, "switch", "-q", "nexus/a")
        (tree / "idea").write_text("idea\n")
        gone = await ws.destroy(force=True)
        assert len(await nx.rescues("a")) == 2
        # Without the note of the destroyed workspace there are only the refs to go by.
        for entry in await nx._open.destroyed.load_all():
            await nx._open.destroyed.delete(entry)
        assert next(rescue.ref for rescue in await nx.rescues("a")) == gone.rescued
        back = await nx.restore("a", start=False)
        assert (back.info.worktree_path / "idea").read_text() == "idea\n"
        await back.destroy(force=True)
    git(root, "fsck", "--no-dangling")
