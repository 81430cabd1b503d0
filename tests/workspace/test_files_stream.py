from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from nexus.errors import (
    ContentModified,
    FsError,
    InvalidArgument,
    PathDenied,
    PathEscape,
    PathIsADirectory,
    PathNotFound,
)
from nexus.models.files import ABSENT
from nexus.workspace.files import FileSystem
from nexus.workspace.replacing import is_temporary


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_read_in_pieces(fs: FileSystem, root: Path) -> None:
    data = os.urandom(300_000)
    (root / "f").write_bytes(data)
    async with fs.open_read("f") as file:
        assert file.info.size == len(data)
        pieces = [piece async for piece in file]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 65536
    async with fs.open_read("f", offset=299_990) as file:
        assert await file.receive(4) == data[299_990:299_994]
        assert await file.receive() == data[299_994:]
        with pytest.raises(anyio.EndOfStream):
            await file.receive()


async def test_the_file_that_was_opened_is_read_whatever_takes_its_name(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes(b"a" * 100_000)
    async with fs.open_read("f") as file:
        first = await file.receive(10)
        await fs.write_bytes("f", b"b" * 100_000)
        rest = b"".join([piece async for piece in file])
    assert first + rest == b"a" * 100_000


async def test_what_cannot_be_read_in_pieces(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    os.mkfifo(root / "fifo")
    (root / "out").symlink_to("/etc/passwd")
    for path, error in (("no", PathNotFound), ("d", PathIsADirectory), ("fifo", FsError), ("out", PathEscape)):
        with pytest.raises(error):
            async with fs.open_read(path):
                pass
    with pytest.raises(InvalidArgument):
        async with fs.open_read("d", offset=-1):
            pass


async def test_a_file_is_written_in_pieces_and_appears_whole(fs: FileSystem, root: Path) -> None:
    async with fs.open_write("new/f", if_match=ABSENT) as file:
        await file.send(b"one ")
        assert not (root / "new" / "f").exists()
        with pytest.raises(InvalidArgument):
            _ = file.info
        await file.send(b"two")
    assert (root / "new" / "f").read_bytes() == b"one two"
    assert file.info == await fs.stat("new/f")
    assert names(root / "new") == ["f"]


async def test_permissions_stay_and_can_be_given(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes(b"old")
    (root / "f").chmod(0o740)
    async with fs.open_write("f") as file:
        await file.send(b"new")
    assert (root / "f").stat().st_mode & 0o777 == 0o740
    async with fs.open_write("f", mode=0o600) as file:
        pass
    assert (root / "f").stat().st_mode & 0o777 == 0o600
    assert (root / "f").read_bytes() == b""
    assert (await fs.set_mode("f", 0o755)).mode == 0o755
    with pytest.raises(InvalidArgument):
        await fs.set_mode("f", 0o4755)
    (root / ".git").write_text("gitdir: x")
    with pytest.raises(PathDenied):
        await fs.set_mode(".git", 0o777)


class Oops(Exception):
    pass


async def test_a_block_that_fails_leaves_nothing(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes(b"old")

    async def fail() -> None:
        async with fs.open_write("f") as file:
            await file.send(b"half")
            raise Oops

    with pytest.raises(Oops):
        await fail()
    assert names(root) == ["f"]
    assert (root / "f").read_bytes() == b"old"


async def test_a_block_that_is_cancelled_leaves_nothing(fs: FileSystem, root: Path) -> None:
    with anyio.CancelScope() as scope:
        async with fs.open_write("f") as file:
            await file.send(b"half")
            scope.cancel()
            await file.send(b"more")
    assert names(root) == []


async def test_whoever_changes_the_file_meanwhile_is_not_overwritten(fs: FileSystem, root: Path) -> None:
    info = await fs.write_bytes("f", b"1")

    async def write(meanwhile: bytes) -> None:
        async with fs.open_write("f", if_match=info.etag) as file:
            await file.send(b"2")
            await fs.write_bytes("f", meanwhile)

    with pytest.raises(ContentModified):
        await write(b"3")
    assert (root / "f").read_bytes() == b"3"
    with pytest.raises(ContentModified):
        async with fs.open_write("f", if_match=info.etag):
            pass
    assert names(root) == ["f"]


async def test_git_and_folders_are_not_written(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    for path, error in ((".git", PathDenied), (".git/config", PathDenied), ("d", PathIsADirectory), (".", FsError)):
        with pytest.raises(error):
            async with fs.open_write(path):
                pass
    with pytest.raises(InvalidArgument):
        async with fs.open_write("f", mode=0o2755):
            pass


async def test_a_link_that_is_put_there_meanwhile_is_not_written_through(fs: FileSystem, root: Path) -> None:
    (root / "target").write_bytes(b"keep")

    async def write() -> None:
        async with fs.open_write("f") as file:
            await file.send(b"x")
            (root / "f").symlink_to("target")

    with pytest.raises(FsError, match="keeps changing"):
        await write()
    assert (root / "target").read_bytes() == b"keep"
    assert names(root) == ["f", "target"]


async def test_asyncios_own_cancellation_leaves_no_descriptor_open(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes(b"x")

    async def read() -> None:
        async with fs.open_read("f"):
            await anyio.sleep_forever()

    for _ in range(30):
        task = asyncio.create_task(read())
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    # One more hop through the threads: those before it have ended.
    await fs.read_bytes("f")


async def test_a_large_folder_comes_in_pages(fs: FileSystem, root: Path) -> None:
    for number in range(25):
        (root / f"{number:02}").touch()
    (root / ".hidden").touch()
    page = await fs.list_page(limit=10, hidden=False)
    seen = [info.name for info in page.entries]
    (root / "09").unlink()  # where the next page begins need not be there any more
    while page.next is not None:
        page = await fs.list_page(after=page.next, limit=10, hidden=False)
        seen += [info.name for info in page.entries]
    assert seen == [f"{number:02}" for number in range(25)]
    assert (await fs.list_page(limit=26)).next is None
    assert (await fs.list_page(limit=1)).entries[0].name == ".hidden"
    with pytest.raises(InvalidArgument):
        await fs.list_page(limit=0)


@pytest.mark.slow
async def test_a_folder_with_a_hundred_thousand_entries(fs: FileSystem, root: Path) -> None:
    for number in range(100_000):
        os.close(os.open(root / f"{number:06}", os.O_CREAT | os.O_WRONLY))
    seen: list[str] = []
    page = await fs.list_page(limit=50_000)
    while True:
        seen += [info.name for info in page.entries]
        if page.next is None:
            break
        page = await fs.list_page(after=page.next, limit=50_000)
    assert seen == [f"{number:06}" for number in range(100_000)]
    async with fs.watch() as watch:
        (root / "one more").touch()
        with anyio.fail_after(60):
            batch = await watch.receive()
    assert [event.path for event in batch.events] == ["one more"]


async def test_a_program_that_is_killed_leaves_the_old_file(fs: FileSystem, root: Path) -> None:
    await fs.write_text("f", "old")
    program = (
        "import anyio, os, pathlib, signal, sys\n"
        "from nexus.workspace.files import FileSystem\n"
        "async def main():\n"
        "    async with FileSystem(pathlib.Path(sys.argv[1])).open_write('f') as file:\n"
        "        await file.send(b'half')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "anyio.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert await fs.read_text("f") == "old"
    (left,) = [info.name async for info in fs.scan() if info.name != "f"]
    assert is_temporary(os.fsencode(left)), "which transfers and searches leave out"


async def test_where_a_path_leads(fs: FileSystem, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "f").touch()
    (root / "l").symlink_to("a/b")
    (root / "m").symlink_to("l/../f")
    (root / "out").symlink_to("/etc")
    assert await fs.realpath("l") == "a/b"
    assert await fs.realpath("m") == "a/f"
    assert await fs.realpath("a/b/..") == "a"
    assert await fs.realpath(".") == "."
    with pytest.raises(PathEscape):
        await fs.realpath("out/passwd")
    with pytest.raises(PathNotFound):
        await fs.realpath("a/no")
