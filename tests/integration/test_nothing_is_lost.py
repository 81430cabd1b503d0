"""Destroyed workspaces are listed, restored and pruned; what was in them is as it was. On every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import nexus
from nexus.errors import AlreadyExists, BranchInUse, NotFound, UnsavedWork, WorkspaceNotFound
from nexus.models.requests import ListFilter
from nexus.models.rescues import DestroyedWorkspace, PruneAction
from tests.workbench import Bench, git

ALL = ListFilter(destroyed=True)


def porcelain(tree: Path) -> str:
    return git(tree, "status", "--porcelain=v2", "--branch", "--untracked-files=all")


def own(actions: Iterable[PruneAction]) -> list[PruneAction]:
    """Leave out images that a backend built: they belong to no repository, and other tests build some on the same engine."""
    return [action for action in actions if action.kind != "image"]


def edit(tree: Path) -> None:
    (tree / "README.md").write_text("staged\n")
    git(tree, "add", "README.md")
    (tree / "README.md").write_text("then changed\n")
    (tree / "src" / "main.py").unlink(missing_ok=True)
    (tree / "idea.txt").write_text("precious\n")


async def test_work_that_was_forced_away_comes_back_as_it_was(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", labels={"team": "red"})
        tree = ws.info.worktree_path
        edit(tree)
        git(tree, "commit", "-qm", "only here", "--only", "README.md")
        edit(tree)
        before, tip = porcelain(tree), git(bench.repository, "rev-parse", "nexus/a")
        gone = await ws.destroy(force=True)
        assert gone.branch_deleted
        (rescue,) = await nx.rescues("a")
        assert (rescue.ref, rescue.base, rescue.files) == (gone.rescued, tip.strip(), 3)
        assert await nx.rescues("b") == ()
        back = await nx.restore("a")
        assert porcelain(back.info.worktree_path) == before
        assert git(bench.repository, "rev-parse", "nexus/a") == tip
        assert (back.info.status, back.info.labels) == (nexus.WorkspaceStatus.RUNNING, {"team": "red"})
        assert back.id != ws.id
        assert (await back.exec("cat", "idea.txt")).stdout == "precious\n" or bench.backend == "mock"
        assert (await nx.rescues("a")) == (rescue,)
        with pytest.raises(UnsavedWork):
            await back.destroy()


async def test_a_clean_one_comes_back_at_its_tip(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        tree = ws.info.worktree_path
        (tree / "new.txt").write_text("new\n")
        git(tree, "add", "new.txt")
        git(tree, "commit", "-qm", "merged, then lost")
        git(bench.repository, "merge", "-q", "nexus/a")
        tip = git(bench.repository, "rev-parse", "nexus/a")
        gone = await ws.destroy()
        assert (gone.rescued, gone.branch_deleted) == (None, True)
        git(bench.repository, "reset", "-q", "--hard", "HEAD~1")
        git(bench.repository, "reflog", "expire", "--expire=now", "--all")
        git(bench.repository, "gc", "-q", "--prune=now")
        back = await nx.restore("a", start=False)
        assert git(bench.repository, "rev-parse", "nexus/a") == tip
        assert (back.info.worktree_path / "new.txt").read_text() == "new\n"
        assert git(back.info.worktree_path, "status", "--porcelain") == ""


async def test_destroyed_ones_are_listed_on_request_with_the_way_back(bench: Bench) -> None:
    async with bench.open() as nx:
        await nx.create("a", labels={"team": "red"}, start=False)
        await nx.create("b", start=False)
        gone = await nx.destroy("a")
        assert [entry.name for entry in await nx.list()] == ["b"]
        living, entry = await nx.list(ALL)
        assert living.name == "b"
        assert isinstance(entry, DestroyedWorkspace)
        assert (entry.name, entry.status, entry.labels, entry.restore) == (
            "a", "destroyed", {"team": "red"}, gone.restore,
        )  # fmt: skip
        assert entry.tip == git(bench.repository, "rev-parse", "HEAD").strip()
        assert git(bench.repository, "rev-parse", str(entry.ref)).strip() == entry.tip
        assert datetime.now(UTC) - entry.destroyed_at < timedelta(minutes=1)
        assert entry.restore.startswith("boulder ws restore a --at ")
        other = ListFilter(destroyed=True, labels={"team": "blue"})
        assert await nx.list(other) == ()


async def test_one_of_several_is_chosen_by_its_time(bench: Bench) -> None:
    async with bench.open() as nx:
        context = nx._open  # the clock of what is kept is put back on purpose
        refs: list[str] = []
        for number in range(2):
            ws = await nx.create("a", start=False)
            (ws.info.worktree_path / "idea.txt").write_text(f"{number}\n")
            gone = await ws.destroy(force=True)
            refs.append(str(gone.rescued))
        older = "refs/nexus/rescue/a/20200101T000000Z"
        git(bench.repository, "update-ref", older, refs[0])
        git(bench.repository, "update-ref", "-d", refs[0])
        newest, oldest = await context.destroyed.load_all()
        await context.destroyed.save(
            oldest.model_copy(update={"rescued": older, "destroyed_at": datetime(2020, 1, 1, tzinfo=UTC)})
        )
        assert newest.rescued == refs[1]
        assert [rescue.ref for rescue in await nx.rescues("a")] == [refs[1], older]
        first = await nx.restore("a", "2020-01-01", as_name="first", start=False)
        assert (first.info.worktree_path / "idea.txt").read_text() == "0\n"
        again = await nx.restore("a", datetime(2020, 1, 1, tzinfo=UTC), as_name="again", start=False)
        assert (again.info.worktree_path / "idea.txt").read_text() == "0\n"
        last = await nx.restore("a", start=False)
        assert (last.info.worktree_path / "idea.txt").read_text() == "1\n"
        with pytest.raises(NotFound, match="2019"):
            await nx.restore("a", "2019", as_name="never")
        with pytest.raises(WorkspaceNotFound):
            await nx.restore("nobody")
        with pytest.raises(AlreadyExists):
            await nx.restore("a")


async def test_a_branch_that_went_on_meanwhile_is_not_touched(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        (ws.info.worktree_path / "idea.txt").write_text("x")
        await ws.destroy(force=True)
        git(bench.repository, "commit", "-qm", "later", "--allow-empty")
        git(bench.repository, "branch", "nexus/a")
        with pytest.raises(BranchInUse, match="not where it was") as refused:
            await nx.restore("a")
        assert refused.value.hint == "restore it under another name (--as NAME)"
        back = await nx.restore("a", as_name="a-again", start=False)
        assert (back.info.worktree_path / "idea.txt").read_text() == "x"
        git(bench.repository, "branch", "-D", "nexus/a")


async def test_a_commit_that_comes_in_while_it_is_destroyed_keeps_the_branch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus.workspace import destruction, remembering

    async with bench.open() as nx:
        await nx.create("a", start=False)
        remember = remembering.remember

        async def late(*args: Any, **kept: Any) -> DestroyedWorkspace:
            commit = git(bench.repository, "commit-tree", "-m", "late", "HEAD^{tree}").strip()
            git(bench.repository, "update-ref", "refs/heads/nexus/a", commit)
            return await remember(*args, **kept)

        monkeypatch.setattr(destruction, "remember", late)
        gone = await nx.destroy("a")
        assert not gone.branch_deleted
        assert git(bench.repository, "log", "-1", "--format=%s", "nexus/a") == "late\n"
        git(bench.repository, "branch", "-D", "nexus/a")


async def test_a_detached_head_does_not_keep_the_branch_for_ever(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        git(ws.info.worktree_path, "commit", "-qm", "on the branch", "--allow-empty")
        git(ws.info.worktree_path, "checkout", "-q", "--detach", "HEAD~1")
        before = porcelain(ws.info.worktree_path)
        assert (await ws.destroy(force=True)).branch_deleted
        back = await nx.restore("a", start=False)
        assert porcelain(back.info.worktree_path) == before
        assert git(bench.repository, "log", "-1", "--format=%s", "nexus/a") == "on the branch\n"


async def test_ignored_files_that_are_precious_are_work(bench: Bench) -> None:
    (bench.repository / ".gitignore").write_text(".env\nkeys/\n*.log\n")
    git(bench.repository, "add", ".gitignore")
    git(bench.repository, "commit", "-qm", "ignore")
    (bench.repository / ".env").write_text("SAME=1\n")
    bench.extra["defaults.precious"] = [".env", "keys/*.pem"]
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        tree = ws.info.worktree_path
        (tree / ".env").write_text("SAME=1\n")
        (tree / "noise.log").write_text("x")
        (tree / "keys").mkdir()
        (tree / "keys" / "noise").write_text("x")
        report = await nx._open.worktrees.report("a")  # a copy of the main checkout's own file is no work
        assert report.clean, report.lines()
        (tree / ".env").write_text("MINE=1\n")
        (tree / ".env").chmod(0o600)
        (tree / "keys" / "a.pem").write_text("key\n")
        with pytest.raises(UnsavedWork) as refused:
            await ws.destroy()
        assert refused.value.lost == ("ignored but precious: .env", "ignored but precious: keys/a.pem")
        await ws.destroy(force=True)
        back = (await nx.restore("a", start=False)).info.worktree_path
        assert (back / ".env").read_text() == "MINE=1\n"
        assert (back / ".env").stat().st_mode & 0o777 == 0o600
        assert (back / "keys" / "a.pem").read_text() == "key\n"
        assert not (back / "noise.log").exists()
        assert git(back, "status", "--porcelain") == ""


async def test_a_refusal_says_everything_to_programs_too(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        edit(ws.info.worktree_path)
        with pytest.raises(UnsavedWork) as refused:
            await ws.destroy()
        details = refused.value.to_json()["details"]
        assert isinstance(details, dict)
        report = details["report"]
        assert isinstance(report, dict)
        assert report["untracked"] == ["idea.txt"]
        assert report["modified"] == ["README.md"]
        assert report["deleted"] == ["src/main.py"]
        assert report["staged"] == ["README.md"]
        assert details["lost"] == list(refused.value.lost)


async def test_nothing_young_is_pruned_and_everything_old_is(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        (ws.info.worktree_path / "idea.txt").write_text("12345")
        rescued = (await ws.destroy(force=True)).rescued
        # The removed tree itself may have left the trash already, or be emptied by this very call.
        kept = [action for action in own(await nx.prune()) if action.kind != "trash"]
        assert {(action.kind, action.action, action.size) for action in kept} == {
            ("rescue", "kept", 5), ("destroyed", "kept", None),
        }  # fmt: skip
        assert all("younger than 14d" in action.reason for action in kept)
        would = own(await nx.prune(dry_run=True, older_than=0))
        assert {action.action for action in would} == {"would-remove"}
        assert len(await nx.rescues()) == 1
        done = own(await nx.prune(older_than=timedelta(0)))
        assert {(action.kind, action.action) for action in done} == {("rescue", "removed"), ("destroyed", "removed")}
        assert rescued in {action.ref for action in done}
        assert (await nx.rescues(), await nx.list(ALL)) == ((), ())
        assert git(bench.repository, "for-each-ref", "refs/nexus") == ""
        with pytest.raises(WorkspaceNotFound):
            await nx.restore("a")
        assert own(await nx.prune(older_than=0)) == []


async def test_a_limit_takes_the_oldest_first_and_only_as_many_as_needed(bench: Bench) -> None:
    async with bench.open() as nx:
        for name in ("a", "b"):
            ws = await nx.create(name, start=False)
            (ws.info.worktree_path / "idea.txt").write_text("x" * 1000)
            await ws.destroy(force=True)
        assert "removed" not in {action.action for action in own(await nx.prune(older_than=0, max_disk=5000))}
        done = await nx.prune(older_than=0, max_disk=1500)
        assert ("rescue", "a") in {(action.kind, action.name) for action in done if action.action == "removed"}
        assert [rescue.name for rescue in await nx.rescues()] == ["b"]


async def test_removed_trees_are_gone_when_the_manager_has_closed(bench: Bench) -> None:
    async with bench.open() as nx:
        ws = await nx.create("a", start=False)
        deep = ws.info.worktree_path / "deep" / "er"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        await ws.destroy(force=True)
        assert not ws.info.worktree_path.exists()
    assert [path for path in (bench.repository / ".nexus" / "trash").iterdir() if path.is_dir()] == []


async def test_what_a_killed_process_left_in_the_trash_goes_with_the_next_open(bench: Bench) -> None:
    async with bench.open() as nx:
        await nx.create("a", start=False)
        await nx.destroy("a")
    left = bench.repository / ".nexus" / "trash" / "a.0123456789ab"
    (left / "src").mkdir(parents=True)
    (left / "src" / "file").write_text("x")
    async with bench.open():
        pass
    assert not left.exists()


async def test_trash_that_cannot_be_deleted_is_named_with_the_command(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nexus.git import trash

    async with bench.open() as nx:
        await nx.create("a", start=False)
        delete: Callable[..., list[str]] = lambda victim, *_: [f"{victim}: Permission denied"]  # noqa: E731
        with monkeypatch.context() as patched:  # not undo(): that would give this test the real home folder
            patched.setattr(trash, "delete_tree", delete)
            await nx.destroy("a")
            (action,) = [action for action in await nx.gc() if action.kind == "trash"]
            assert action.action == "kept"
            assert "sudo rm -rf -- " in action.reason
            assert str(bench.repository / ".nexus" / "trash") in action.reason
            assert any("sudo rm -rf" in finding.message for finding in await nx.doctor())
            assert any(each.kind == "trash" and each.action == "kept" for each in await nx.prune())
        assert [action for action in await nx.gc() if action.kind == "trash"] == []
