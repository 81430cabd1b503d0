from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.abc.files import Watch
from nexus.errors import FsError, InvalidArgument, PathEscape, PathNotFound, WorkspaceGone
from nexus.models.files import FileChange, WatchMode
from nexus.workspace import inotify, watch_native, watch_poll
from nexus.workspace.file_changes import BATCH, MOST_WAITING, Changes
from nexus.workspace.files import FileSystem
from nexus.workspace.files_watch import Wish

CREATED, CHANGED, DELETED = FileChange.CREATED, FileChange.CHANGED, FileChange.DELETED


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "src").mkdir()
    (tree / "src" / "a").write_text("1")
    return tree


@pytest.fixture(params=["native", "poll"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Wish:
    monkeypatch.setattr(watch_poll, "_SHORTEST", 0.02)
    monkeypatch.setattr(watch_poll, "_SHARE", 0)
    wish: Wish = request.param
    return wish


async def until(watch: Watch, wanted: dict[str, FileChange]) -> dict[str, FileChange]:
    """Gather changes until all that are wanted have come; what has come after all."""
    seen: dict[str, FileChange] = {}
    with anyio.fail_after(30):
        while not wanted.items() <= seen.items():
            batch = await watch.receive()
            assert not batch.overflow
            for event in batch.events:
                # A batch may end between two changes of one file.
                if (seen.get(event.path), event.kind) != (CREATED, CHANGED):
                    seen[event.path] = event.kind
    return seen


async def test_changes_are_told(fs: FileSystem, root: Path, mode: Wish) -> None:
    async with fs.watch(mode=mode) as watch:
        assert watch.mode == WatchMode(mode)
        assert watch.notice is None
        await fs.write_text("src/b", "new")
        (root / "src" / "a").write_text("12")
        assert await until(watch, {"src/b": CREATED, "src/a": CHANGED}) == {"src/b": CREATED, "src/a": CHANGED}
        await fs.write_text("src/a", "replaced")  # a rename over it
        assert await until(watch, {"src/a": CHANGED}) == {"src/a": CHANGED}
        (root / "src" / "a").unlink()
        assert await until(watch, {"src/a": DELETED}) == {"src/a": DELETED}


async def test_folders_that_come_are_watched(fs: FileSystem, root: Path, mode: Wish) -> None:
    async with fs.watch(mode=mode) as watch:
        (root / "n" / "m").mkdir(parents=True)
        (root / "n" / "m" / "f").write_text("x")
        await until(watch, {"n": CREATED, "n/m": CREATED, "n/m/f": CREATED})
        (root / "n" / "m" / "g").write_text("x")
        await until(watch, {"n/m/g": CREATED})


async def test_a_folder_that_is_renamed_is_watched_by_its_new_name(fs: FileSystem, root: Path, mode: Wish) -> None:
    async with fs.watch(mode=mode) as watch:
        (root / "src").rename(root / "lib")
        await until(watch, {"src": DELETED, "lib": CREATED, "lib/a": CREATED})
        (root / "lib" / "a").write_text("12")
        assert "src/a" not in await until(watch, {"lib/a": CHANGED})
        (root / "src").mkdir()
        (root / "src" / "again").touch()
        await until(watch, {"src": CREATED, "src/again": CREATED})


async def test_a_single_file_is_watched_through_replacements(fs: FileSystem, root: Path, mode: Wish) -> None:
    async with fs.watch("src/a", mode=mode) as watch:
        (root / "src" / "other").write_text("x")
        for text in ("12", "123"):
            await fs.write_text("src/a", text)
            assert await until(watch, {"src/a": CHANGED}) == {"src/a": CHANGED}
        (root / "src" / "a").unlink()
        assert await until(watch, {"src/a": DELETED}) == {"src/a": DELETED}


async def test_what_is_left_out(fs: FileSystem, root: Path, mode: Wish) -> None:
    (root / ".git").mkdir()
    (root / "node_modules").mkdir()
    async with fs.watch(mode=mode, exclude=["node_modules", "src/a"]) as watch:
        for name in (".git/index", "node_modules/x", "src/a"):
            (root / name).write_text("changed")
        (root / "last").touch()
        assert await until(watch, {"last": CREATED}) == {"last": CREATED}
    async with fs.watch(mode=mode, recursive=False) as watch:
        (root / "src" / "deep").touch()
        (root / "top").touch()
        seen = await until(watch, {"top": CREATED})
        assert "src/deep" not in seen


async def test_links_are_told_of_and_not_followed(fs: FileSystem, root: Path, mode: Wish) -> None:
    outside = root.parent / "outside"
    (outside / "below").mkdir(parents=True)
    (root / "early").symlink_to(outside)
    async with fs.watch(mode=mode) as watch:
        (root / "late").symlink_to(outside)
        await until(watch, {"late": CREATED})
        (outside / "secret").touch()
        (outside / "below" / "secret").touch()
        (root / "last").touch()
        assert await until(watch, {"last": CREATED}) == {"last": CREATED}
    with pytest.raises(PathEscape):
        async with fs.watch("early", mode=mode):
            pass


async def test_the_end_of_what_is_watched_is_told(fs: FileSystem, root: Path, mode: Wish) -> None:
    async with fs.watch("src", mode=mode) as watch:
        (root / "src").rename(root / "elsewhere")
        with anyio.fail_after(30), pytest.raises(PathNotFound):
            await watch.receive()
        (root / "src").mkdir()
        (root / "src" / "x").touch()
        (root / "elsewhere" / "wake").touch()
        with anyio.fail_after(30), pytest.raises(PathNotFound):  # another folder by the same name
            await watch.receive()
    (root / "deep" / "er").mkdir(parents=True)
    async with fs.watch("deep/er", mode=mode) as watch:
        (root / "deep").rename(root / "gone")
        with anyio.fail_after(30), pytest.raises(PathNotFound):
            await watch.receive()


async def test_the_tree_that_is_removed_while_it_is_watched(fs: FileSystem, root: Path, mode: Wish) -> None:
    async with fs.watch(mode=mode) as watch:
        shutil.rmtree(root)
        with anyio.fail_after(30), pytest.raises(WorkspaceGone):
            [batch async for batch in watch]


async def test_the_tree_that_is_moved_away_while_a_folder_of_it_is_watched(
    fs: FileSystem, root: Path, mode: Wish
) -> None:
    async with fs.watch("src", mode=mode) as watch:
        root.rename(root.parent / "moved")
        with anyio.fail_after(30), pytest.raises(WorkspaceGone):
            await watch.receive()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
async def test_at_the_kernels_limit_the_tree_is_looked_at_instead(
    fs: FileSystem, root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(watch_poll, "_SHORTEST", 0.02)
    if number == errno.ENOSPC:
        monkeypatch.setattr(inotify.Inotify, "add", refuse)
    else:
        monkeypatch.setattr(inotify.Inotify, "__init__", refuse)
    async with fs.watch() as watch:
        assert watch.mode is WatchMode.POLL
        assert "fs.inotify" in (watch.notice or "")
        (root / "new").touch()
        assert await until(watch, {"new": CREATED})
    with pytest.raises(FsError, match="the kernel does not tell"):
        async with fs.watch(mode="native"):
            pass


async def test_a_limit_that_is_reached_later_is_told(
    fs: FileSystem, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_poll, "_SHORTEST", 0.02)
    monkeypatch.setattr(watch_native, "MOST_FOLDERS", 2)
    async with fs.watch() as watch:
        modes = [watch.mode]
        (root / "one").mkdir()
        with anyio.fail_after(30):
            assert (await watch.receive()).overflow
        modes.append(watch.mode)
        assert modes == [WatchMode.NATIVE, WatchMode.POLL]
        assert "more than 2 folders" in (watch.notice or "")
        (root / "one" / "f").touch()
        assert await until(watch, {"one/f": CREATED})


async def test_events_that_the_kernel_dropped_are_told(fs: FileSystem, root: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip(f"this kernel keeps {most} events, too many to overflow in a test")
    async with fs.watch() as watch:
        (root / "src" / "late").mkdir()
        # Events of one file are joined by the kernel when they follow each other: two files take turns.
        pair = [os.open(root / "src" / name, os.O_WRONLY | os.O_CREAT) for name in ("x", "y")]
        for _ in range(most // 2 + 10):
            for fd in pair:
                os.write(fd, b".")
        for fd in pair:
            os.close(fd)
        with anyio.fail_after(30):
            while not (await watch.receive()).overflow:
                pass
        (root / "src" / "late" / "f").touch()  # a folder that came meanwhile is watched all the same
        await until(watch, {"src/late/f": CREATED})


async def test_a_watch_that_waits_is_cancelled_and_loses_nothing(fs: FileSystem, root: Path) -> None:
    async with fs.watch() as watch:
        for _ in range(3):
            with anyio.move_on_after(0.01):
                await watch.receive()
        (root / "new").touch()
        with anyio.move_on_after(0.01):
            await watch.receive()
            pytest.fail("changes are gathered for longer than that")
        assert await until(watch, {"new": CREATED}) == {"new": CREATED}


async def test_a_huge_folder_is_watched(fs: FileSystem, root: Path, mode: Wish) -> None:
    folder = root / "many"
    folder.mkdir()
    async with fs.watch(mode=mode) as watch:
        for number in range(BATCH + 500):
            (folder / str(number)).touch()
        assert len(await until(watch, {f"many/{number}": CREATED for number in range(BATCH + 500)})) == BATCH + 500


async def test_what_cannot_be_watched(fs: FileSystem, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PathNotFound):
        async with fs.watch("no"):
            pass
    with pytest.raises(InvalidArgument):
        async with fs.watch(mode="fast"):  # type: ignore[arg-type]
            pass
    monkeypatch.setattr(watch_poll, "MOST_ENTRIES", 1)
    with pytest.raises(FsError, match="too many to watch"):
        async with fs.watch(mode="poll"):
            pass


# The gathering, pure ----------------------------------------------------------------------------------------------------


@given(
    start=st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(4, 9)), max_size=20),
)
def test_gathered_changes_lead_from_the_old_state_to_the_new(
    start: dict[str, int], steps: list[tuple[str, int | None]]
) -> None:
    changes, now = Changes(), dict(start)
    for path, content in steps:
        if content is None:
            if now.pop(path, None) is not None:
                changes.add(DELETED, path)
        else:
            changes.add(CHANGED if path in now else CREATED, path)
            now[path] = content
    batch = changes.take()
    told = {} if batch is None else {event.path: event.kind for event in batch.events}
    for path in "abc":
        if (path in start, path in now) == (False, True):
            assert told[path] is CREATED
        elif (path in start, path in now) == (True, False):
            assert told[path] is DELETED
        elif start.get(path) != now.get(path):
            assert told[path] is CHANGED
        elif path not in start:
            assert path not in told
    assert changes.take() is None


def test_too_many_changes_become_an_overflow() -> None:
    changes = Changes()
    for number in range(MOST_WAITING + 1):
        changes.add(CREATED, str(number))
    batch = changes.take()
    assert batch is not None
    assert batch.overflow
    assert batch.events == ()
    changes.add(CREATED, "later")
    batch = changes.take()
    assert batch is not None
    assert not batch.overflow


@given(st.binary(max_size=200))
def test_any_bytes_from_the_kernel_are_read_without_error(data: bytes) -> None:
    events = inotify.parse(data)
    # Not more than there are headers, and every byte of a name is of what came.
    assert 16 * len(events) + sum(len(event.name) for event in events) <= len(data)
