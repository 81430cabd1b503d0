from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from nexus.errors import GitError
from nexus.git import Worktrees, checkout, creating, filling, listing, trees
from nexus.git.threads import Stop, Stopped, in_thread
from tests.git.oracle import REASON, Git


def assert_untouched(git: Git) -> None:
    assert git.run("for-each-ref", "refs/heads/nexus") == ""
    assert not (git.root / ".git" / "worktrees").exists()
    assert list((git.root / ".nexus" / "worktrees").iterdir()) == []
    assert list((git.root / ".nexus" / "trash").iterdir()) == []
    assert not (git.root / ".git" / "nexus-new-one").exists()
    assert git.status(git.root) == ""


class Gate:
    """Holds the checkout in its thread until the test lets it go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        if place == "before":
            original = trees.folders_of

            def held(files: object) -> list[bytes]:
                self._hold()
                return original(files)  # type: ignore[arg-type]

            monkeypatch.setattr(checkout, "folders_of", held)
        elif place == "within":
            write = checkout._Work.write

            def slow(work: checkout._Work, group: object) -> object:
                done = write(work, group)  # type: ignore[arg-type]
                self._hold()
                return done

            monkeypatch.setattr(checkout._Work, "write", slow)
        else:
            found = listing.get_worktree

            def late(*args: object) -> object:
                made = found(*args)  # type: ignore[arg-type]
                self._hold()
                return made

            monkeypatch.setattr(creating, "get_worktree", late)

    def _hold(self) -> None:
        self.reached.set()
        assert self.go.wait(30)


@pytest.mark.parametrize("place", ["before", "within", "after"])
@pytest.mark.parametrize("kind", ["anyio", "asyncio", "asyncio twice"])
async def test_a_cancelled_creation_leaves_nothing(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    gate = Gate(monkeypatch, place)
    if kind == "anyio":
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: worktrees.create("one", reason=REASON))
            await anyio.to_thread.run_sync(gate.reached.wait)
            tasks.cancel_scope.cancel()
            gate.go.set()
    else:
        task = asyncio.create_task(worktrees.create("one", reason=REASON))
        await anyio.to_thread.run_sync(gate.reached.wait)
        task.cancel()
        await anyio.lowlevel.checkpoint()
        if kind == "asyncio twice":
            task.cancel()
            await anyio.lowlevel.checkpoint()
        assert not task.done(), "the call waits until its thread has cleaned up"
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    monkeypatch.undo()
    assert_untouched(git)
    made = await worktrees.create("one", reason=REASON)
    assert git.status(made.path) == ""


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("step", ["_write_index", "check_out", "_make_entry", "get_worktree"])
async def test_a_failed_creation_leaves_only_what_was_there(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch, step: str, adopted: bool
) -> None:
    if adopted:
        git.run("branch", "nexus/one")

    def fail(*_: object, **__: object) -> None:
        raise GitError("the disk is full")

    monkeypatch.setattr(filling if hasattr(filling, step) else creating, step, fail)
    with pytest.raises(GitError, match="the disk is full"):
        await worktrees.create("one", reason=REASON, adopt=adopted)
    if adopted:
        assert git.run("rev-parse", "nexus/one").strip() == git.head()
        git.run("branch", "-q", "-D", "nexus/one")
    assert_untouched(git)


async def test_work_that_somebody_committed_meanwhile_stays(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The creation fails after a commit was made on its new branch: the branch is somebody's work now."""
    side = git.run("commit-tree", "-p", "HEAD", "-m", "side", "HEAD^{tree}").strip()

    def fail(*_: object, **__: object) -> None:
        git.run("update-ref", "refs/heads/nexus/one", side)
        raise GitError("too late")

    monkeypatch.setattr(filling, "_write_index", fail)
    with pytest.raises(GitError, match="too late"):
        await worktrees.create("one", reason=REASON)
    assert git.run("rev-parse", "nexus/one").strip() == side


async def test_work_that_never_began_is_not_waited_for() -> None:
    ran: list[int] = []

    async def go() -> None:
        await in_thread(lambda _: ran.append(1))

    with anyio.CancelScope() as scope:
        scope.cancel()
        await go()
    assert ran == []


async def test_results_and_errors_come_through() -> None:
    assert await in_thread(lambda _: 7) == 7

    def fail(_: Stop) -> None:
        raise GitError("no")

    with pytest.raises(GitError, match="no"):
        await in_thread(fail)


async def test_the_work_hears_that_it_should_stop() -> None:
    heard: list[bool] = []
    begun = threading.Event()

    def work(stop: Stop) -> None:
        begun.set()
        while not stop:
            pass
        try:
            stop.check()
        except Stopped:
            heard.append(True)
            raise

    task = asyncio.create_task(in_thread(work))
    await anyio.to_thread.run_sync(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [True]


async def test_a_finished_work_is_undone_for_a_cancelled_caller() -> None:
    undone: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def work(_: Stop) -> str:
        begun.set()
        go.wait(30)
        return "made"

    task = asyncio.create_task(in_thread(work, undo=undone.append))
    await anyio.to_thread.run_sync(begun.wait)
    task.cancel()
    await anyio.lowlevel.checkpoint()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["made"]


async def test_twenty_at_once_do_not_meet(git: Git, worktrees: Worktrees) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(lambda number=number: worktrees.create(f"w{number}", reason=REASON))  # type: ignore[misc]
    found = await worktrees.list()
    assert len(found) == 20
    assert all(git.status(worktree.path) == "" for worktree in found)
    async with anyio.create_task_group() as tasks:
        for worktree in found:
            tasks.start_soon(
                lambda worktree=worktree: worktrees.remove(  # type: ignore[misc]
                    worktree.name, expected_tip=worktree.head, delete_branch=True
                )
            )
    assert_untouched(git)
    assert (git.root / ".git" / "refs" / "heads").is_dir()
