from __future__ import annotations

import asyncio
import itertools
import json
import stat
import subprocess
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread, to_thread

from nexus.errors import Busy, InvalidArgument, StateError
from nexus.processes import identify
from nexus.state import lock, locks
from nexus.state.lock_file import LockFile
from tests.programs import Spawn

HOLD = """
import sys, anyio
from pathlib import Path
from nexus.state import lock
async def main():
    async with lock(Path(sys.argv[1]), purpose="creating workspace a"):
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "a.lock"


async def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return (await to_thread.run_sync(child.stdout.readline)).strip()


async def test_tasks_of_one_process_exclude_each_other(path: Path) -> None:
    inside = 0
    most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with lock(path, purpose="test"):
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(enter)
    assert most == 1


async def test_the_holder_is_named_and_then_waited_for(path: Path, spawn: Spawn) -> None:
    child = spawn(HOLD, str(path))
    assert await line_of(child) == "held"
    with pytest.raises(Busy) as caught:
        async with lock(path, purpose="destroying workspace a", timeout=0.01):
            pytest.fail("two holders")
    holder = caught.value.details["holder"]
    assert isinstance(holder, dict)
    assert (holder["pid"], holder["purpose"]) == (child.pid, "creating workspace a")
    assert f"is held by process {child.pid} (creating workspace a) since {holder['since']}" in caught.value.message
    assert caught.value.retryable
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    async with lock(path, purpose="destroying workspace a"):
        note = json.loads(path.with_name("a.lock.holder").read_text())
        me = identify()
        assert me is not None
        assert note["process"] == me.model_dump()
        assert note["purpose"] == "destroying workspace a"
    assert await line_of(child) == "free"


async def test_a_killed_holder_frees_the_lock_and_is_not_named_any_more(path: Path, spawn: Spawn) -> None:
    child = spawn(HOLD, str(path))
    assert await line_of(child) == "held"
    child.kill()
    child.wait()
    async with lock(path, purpose="test", timeout=5):
        path.with_name("a.lock.holder").write_text(
            json.dumps(
                {"process": {"pid": child.pid, "start_time": 1, "boot_id": ""}, "purpose": "x", "since": "2026-01-01"}
            )
        )
        with pytest.raises(Busy, match="did not leave its name") as caught:
            async with lock(path, purpose="second", timeout=0.01):
                pytest.fail("two holders")
    assert caught.value.details["holder"] is None


async def test_the_lock_file_stays_and_is_private(path: Path) -> None:
    async with lock(path, purpose="test"):
        inode = path.stat().st_ino
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    async with lock(path, purpose="test"):
        assert path.stat().st_ino == inode
    assert [each.name for each in path.parent.iterdir()] == ["a.lock"]


async def test_an_error_in_the_block_frees_the_lock(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lock(path, purpose="test"):
            raise ZeroDivisionError
    async with lock(path, purpose="test", timeout=0.01):
        pass


async def test_cancelling_the_holder_frees_the_lock(path: Path) -> None:
    async with anyio.create_task_group() as group:
        held = anyio.Event()

        async def hold() -> None:
            async with lock(path, purpose="test"):
                held.set()
                await anyio.sleep_forever()

        group.start_soon(hold)
        await held.wait()
        group.cancel_scope.cancel()
    async with lock(path, purpose="test", timeout=0.01):
        pass


@pytest.mark.parametrize("turns", range(1, 12))
async def test_cancelling_a_waiter_at_any_moment_leaves_the_lock_usable(path: Path, turns: int) -> None:
    """Both kinds of cancellation, after a growing number of turns of the loop; the lock may be had just then."""

    async def wait() -> None:
        async with lock(path, purpose="waiter"):
            await asyncio.sleep(3600)

    async with lock(path, purpose="holder"):
        first = asyncio.ensure_future(wait())
        for _ in range(turns):
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    second = asyncio.ensure_future(wait())
    for _ in range(turns):
        await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    with anyio.move_on_after(0):
        async with lock(path, purpose="cancelled before"):
            pytest.fail("a cancelled scope must not get it")
    async with lock(path, purpose="test", timeout=0.01):
        pass


async def test_a_queue_that_moves_is_waited_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time the limit is over somebody else has it, until it is free."""
    held, enough, looks = anyio.Event(), anyio.Event(), itertools.count(1)
    real = locks._holder

    def another(looked_at: Path) -> locks.LockHolder | None:
        number, holder = next(looks), real(looked_at)
        if number == 4:
            from_thread.run_sync(enough.set)
        return holder and holder.model_copy(update={"purpose": f"creating workspace w{number}"})

    async def hold() -> None:
        async with lock(path, purpose="test"):
            held.set()
            await enough.wait()

    monkeypatch.setattr(locks, "_holder", another)
    async with anyio.create_task_group() as group:
        group.start_soon(hold)
        await held.wait()
        async with lock(path, purpose="test", timeout=0.01, per_holder=True):
            assert enough.is_set()


async def test_one_holder_is_not_waited_for_longer(path: Path) -> None:
    async with lock(path, purpose="creating workspace a"):
        with pytest.raises(Busy, match="creating workspace a"):
            async with lock(path, purpose="test", timeout=0.01, per_holder=True):
                pytest.fail("it is held")


async def test_different_locks_do_not_meet(tmp_path: Path) -> None:
    async with AsyncExitStack() as held:
        for name in ("a", "b", "c"):
            await held.enter_async_context(lock(tmp_path / f"{name}.lock", purpose="test", timeout=0.01))


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_a_time_limit_must_be_greater_than_zero(path: Path, timeout: float) -> None:
    with pytest.raises(InvalidArgument):
        async with lock(path, purpose="test", timeout=timeout):
            pytest.fail("not to be reached")


async def test_a_link_is_refused_and_what_it_points_to_is_untouched(path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    path.parent.mkdir()
    path.symlink_to(precious)
    with pytest.raises(StateError, match="no plain file"):
        async with lock(path, purpose="test"):
            pytest.fail("not to be reached")
    assert precious.read_text() == "keep me"


async def test_a_folder_in_place_of_the_lock_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StateError, match="no plain file"):
        async with lock(path, purpose="test"):
            pytest.fail("not to be reached")


async def test_a_file_in_place_of_the_folder_is_an_error(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(StateError, match="cannot make the folder"):
        async with lock(path, purpose="test"):
            pytest.fail("not to be reached")


async def test_a_link_in_place_of_the_folder_leads_nowhere(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.parent.symlink_to(elsewhere)
    with pytest.raises(StateError, match="symbolic link"):
        async with lock(path, purpose="test"):
            pytest.fail("not to be reached")
    assert list(elsewhere.iterdir()) == []


async def test_it_may_be_let_go_of_before_the_end(path: Path) -> None:
    done: list[str] = []
    async with lock(
        path, purpose="test", first=lambda: done.append("first"), last=lambda: done.append("last")
    ) as let_go:
        assert done == ["first"]
        await to_thread.run_sync(let_go)
        async with lock(path, purpose="another", timeout=0.01):
            await to_thread.run_sync(let_go)
            assert path.with_name("a.lock.holder").exists()  # what another has taken since is his
    assert done == ["first", "last"]
    assert not path.with_name("a.lock.holder").exists()


async def test_what_comes_last_is_done_under_the_lock_also_for_whoever_is_cancelled_after_what_comes_first(
    path: Path,
) -> None:
    begun, cancelled, held = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        assert cancelled.wait(60)

    async def wait() -> None:
        async with lock(path, purpose="test", first=first, last=lambda: held.append(not LockFile(path).take(b""))):
            pytest.fail("not to be reached")

    task = asyncio.ensure_future(wait())
    assert await to_thread.run_sync(begun.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held == [True]
    async with lock(path, purpose="test", timeout=0.01):
        pass


async def test_an_error_in_what_comes_first_or_last_frees_it(path: Path) -> None:
    def fail() -> None:
        raise StateError("the disk is full")

    with pytest.raises(StateError, match="the disk is full"):
        async with lock(path, purpose="test", first=fail):
            pytest.fail("not to be reached")
    with pytest.raises(StateError, match="the disk is full"):
        async with lock(path, purpose="test", last=fail):
            pass
    async with lock(path, purpose="test", timeout=0.01):
        pass


COUNT = """
import sys, anyio
from pathlib import Path
from nexus.state import lock
async def main():
    counter = Path(sys.argv[2])
    for _ in range(10):
        async with lock(Path(sys.argv[1]), purpose="counting"):
            counter.write_text(str(int(counter.read_text()) + 1))
anyio.run(main)
"""


@pytest.mark.slow
async def test_processes_exclude_each_other(path: Path, tmp_path: Path, spawn: Spawn) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    children = [spawn(COUNT, str(path), str(counter)) for _ in range(8)]
    for child in children:
        await to_thread.run_sync(child.communicate)
    assert [child.returncode for child in children] == [0] * 8
    assert counter.read_text() == "80"


@pytest.mark.parametrize("what", ["start_time", "boot_id"])
async def test_a_process_id_that_was_used_again_is_not_taken_for_the_holder(path: Path, what: str) -> None:
    """A note of our own id, but of another start or another boot: its writer is gone, whoever has the number now."""
    me = identify()
    assert me is not None
    other = me.model_copy(update={"start_time": me.start_time - 1} if what == "start_time" else {"boot_id": "before"})
    note = {"process": other.model_dump(), "purpose": "creating workspace a", "since": "2026-01-01T00:00:00Z"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.with_name("a.lock.holder").write_text(json.dumps(note))
    async with lock(path, purpose="first", timeout=5):  # what it left is no lock
        path.with_name("a.lock.holder").write_text(json.dumps(note))
        with pytest.raises(
            Busy, match="did not leave its name"
        ):  # the lock that is held is one, whatever the note says
            async with lock(path, purpose="second", timeout=0.01):
                pytest.fail("two holders")


async def test_a_note_of_a_living_process_is_no_lock(path: Path) -> None:
    me = identify()
    assert me is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    note = {"process": me.model_dump(), "purpose": "creating workspace a", "since": "2026-01-01T00:00:00Z"}
    path.with_name("a.lock.holder").write_text(json.dumps(note))
    async with lock(path, purpose="first", timeout=5):
        pass


async def test_several_are_taken_in_order_and_let_go_of_together(path: Path) -> None:
    other = path.with_name("b.lock")
    async with lock(path, other, purpose="switching"):
        for held in (path, other):
            with pytest.raises(Busy):
                async with lock(held, purpose="test", timeout=0.01):
                    pytest.fail("two holders")
    async with lock(other, path, purpose="test", timeout=0.01):
        pass


async def test_the_first_is_let_go_of_when_the_second_is_not_to_be_had(path: Path) -> None:
    other = path.with_name("b.lock")
    async with lock(other, purpose="creating workspace b"):
        with pytest.raises(Busy) as caught:
            async with lock(path, other, purpose="test", timeout=0.01):
                pytest.fail("two holders")
        assert "b.lock" in caught.value.message
        async with lock(path, purpose="test", timeout=0.01):
            pass
