"""Files of workspaces."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import anyio

from nexus.errors import ContentModified, InvalidArgument, PathEscape, PathExists, PathIsADirectory, PathNotFound
from nexus.models.files import ABSENT, Edit, FileKind
from nexus.models.git import GitAuthor
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.service_suite.case import ServiceCase, ServiceCheck, case


@case
async def files_are_written_and_read(check: ServiceCheck) -> None:
    """What is written is read, whole and in pieces; text keeps its line ends."""
    fs = (await check.workspace()).fs
    info = await fs.write_text("sub/a.txt", "one\r\ntwo ü\n")
    expect_equal((info.path, info.kind, info.size), ("sub/a.txt", FileKind.FILE, 12), "what was written")
    expect_equal(await fs.read_text("sub/a.txt"), "one\r\ntwo ü\n", "the text")
    expect_equal(await fs.read_bytes("sub/a.txt", offset=5, limit=3), b"two", "a piece")
    expect_equal(await fs.read_bytes("sub/a.txt", offset=100), b"", "beyond the end")
    again = await fs.stat("sub/a.txt")
    expect_equal((again.etag, again.size, again.mode), (info.etag, info.size, info.mode), "what stat says")
    expect(await fs.is_dir("sub") and await fs.is_file("sub/a.txt") and not await fs.exists("none"), "what is there")


@case
async def bytes_of_any_kind_and_size(check: ServiceCheck) -> None:
    """Files of any content and size come back as they were."""
    fs = (await check.workspace()).fs
    data = b""
    for size in (0, 1, 262_143, 262_144, 262_145, check.subject.bulk):
        data = os.urandom(size)
        info = await fs.write_bytes("data", data)
        expect_equal(info.size, size, "the size")
        expect(await fs.read_bytes("data") == data, f"{size} bytes come back")
    expect(await fs.read_bytes("data", offset=1000, limit=300_000) == data[1000:301_000], "a large piece of it")
    async with fs.open_read("data", offset=10) as reader:
        read = b"".join([piece async for piece in reader])
    expect(read == data[10:], "read in pieces")
    async with fs.open_write("copy") as writer:
        for at in range(0, len(data), 100_000):
            await writer.send(data[at : at + 100_000])
        expect(not await fs.exists("copy"), "nobody sees a file before it is complete")
    expect_equal(writer.info.size, len(data), "the size of what was written in pieces")
    expect(await fs.read_bytes("copy") == data, "written in pieces")


@case
async def a_file_that_is_given_up_leaves_nothing(check: ServiceCheck) -> None:
    """A file that is written in pieces is not there when its block fails."""
    fs = (await check.workspace()).fs

    async def fail() -> None:
        async with fs.open_write("half") as writer:
            await writer.send(b"x" * 300_000)
            raise RuntimeError("changed my mind")

    await expect_error(RuntimeError, fail, "the block's own error")
    expect([info.path async for info in fs.scan(".")].count("half") == 0, "nothing is left of it")


@case
async def writes_compare_and_swap(check: ServiceCheck) -> None:
    """A write with an etag happens only while the file still has it."""
    fs = (await check.workspace()).fs
    first = await fs.write_text("a", "1", if_match=ABSENT)
    await fs.write_text("a", "2", if_match=first.etag)
    await expect_error(ContentModified, lambda: fs.write_text("a", "3", if_match=first.etag), "an old etag")
    await expect_error(ContentModified, lambda: fs.write_text("a", "3", if_match=ABSENT), "a file that is there")
    expect_equal(await fs.read_text("a"), "2", "the text")


@case
async def edits_are_all_or_nothing(check: ServiceCheck) -> None:
    """Pieces of text are replaced together, or none of them."""
    fs = (await check.workspace()).fs
    await fs.write_text("a", "one two two\n")
    done = await fs.edit("a", [Edit(old="one", new="1"), Edit(old="two", new="2", all=True)])
    expect_equal((done.replaced, await fs.read_text("a")), (3, "1 2 2\n"), "the edit")
    await expect_error(
        InvalidArgument, lambda: fs.edit("a", [Edit(old="1", new="x"), Edit(old="9", new="y")]), "no match"
    )
    expect_equal(await fs.read_text("a"), "1 2 2\n", "the text after a refused edit")


@case
async def errors_of_files_have_their_classes(check: ServiceCheck) -> None:
    """Each error is of its own class and of the standard library's, with the path."""
    fs = (await check.workspace()).fs
    missing = await expect_error(PathNotFound, lambda: fs.read_bytes("no/such"), "a missing file")
    expect(isinstance(missing, FileNotFoundError) and missing.filename == "no/such", "the path is in it")
    await expect_error(PathEscape, lambda: fs.read_bytes("../../etc/passwd"), "a path that leads out")
    await expect_error(PathEscape, lambda: fs.read_bytes("/etc/passwd"), "an absolute path elsewhere")
    await fs.make_dir("folder")
    await expect_error(PathIsADirectory, lambda: fs.read_bytes("folder"), "reading a folder")
    await expect_error(PathExists, lambda: fs.make_dir("folder", exist_ok=False), "making a folder twice")


@case
async def names_of_any_bytes(check: ServiceCheck) -> None:
    """A name that is no UTF-8 is listed, read and removed as it is."""
    one = await check.workspace()
    fs = one.fs
    name = os.fsdecode(b"na\xffme \xc3\xbc")
    await fs.write_text(name, "odd")
    expect(name in [info.path async for info in fs.scan(".")], "it is listed")
    expect_equal(await fs.read_text(name), "odd", "its text")
    expect_equal((await fs.stat(name)).path, name, "its path")
    await fs.remove(name)
    gone = await expect_error(PathNotFound, lambda: fs.read_text(name), "reading it afterwards")
    expect_equal(gone.filename if isinstance(gone, OSError) else "", name, "the path in the error")


@case
async def folders_are_listed(check: ServiceCheck) -> None:
    """Folders are listed by name, whole and page by page, and searched by pattern."""
    fs = (await check.workspace()).fs
    for number in range(25):
        await fs.write_text(f"many/sub{number % 3}/f{number:02}", str(number))
    await fs.write_text("many/.hidden", "")
    shown = [info.path async for info in fs.scan("many", hidden=False)]
    expect_equal(shown, ["many/sub0", "many/sub1", "many/sub2"], "what is shown")
    deep = [info.path async for info in fs.scan("many", recursive=True) if info.kind is FileKind.FILE]
    expect_equal(len(deep), 26, "files at any depth")
    names, after = list[str](), None
    while True:
        page = await fs.list_page("many/sub0", after=after, limit=4)
        names += [info.name for info in page.entries]
        if page.next is None:
            break
        after = page.next
    expect_equal(names, [f"f{number:02}" for number in range(0, 25, 3)], "page by page")
    matching = {path async for path in fs.glob("many/**/f0[0-2]")}
    expect_equal(matching, {f"many/sub{number}/f0{number}" for number in range(3)}, "what matches")


@case
async def lines_are_searched(check: ServiceCheck) -> None:
    """Lines that match are told with their place."""
    fs = (await check.workspace()).fs
    await fs.write_text("src/a.py", "import os\nprint('needle')\n")
    await fs.write_text("src/b.py", "nothing\n")
    found = [match async for match in fs.grep("need.e", include=["*.py"])]
    expect_equal([(match.path, match.line, match.start) for match in found], [("src/a.py", 2, 7)], "the matches")


@case
async def files_are_moved_copied_and_removed(check: ServiceCheck) -> None:
    """Names are changed, files and folders copied and removed."""
    fs = (await check.workspace()).fs
    await fs.write_text("d/a", "x")
    await fs.rename("d/a", "d/b")
    done = await fs.copy("d", "e")
    expect_equal((done.files, await fs.read_text("e/b")), (1, "x"), "the copy")
    await expect_error(PathExists, lambda: fs.rename("d/b", "e/b"), "renaming over a file")
    await fs.rename("d/b", "e/b", replace=True)
    await fs.remove("d", recursive=True)
    await fs.remove("d", missing_ok=True)
    expect(not await fs.exists("d"), "the folder is gone")
    info = await fs.set_mode("e/b", 0o600)
    expect_equal(info.mode, 0o600, "the mode")
    expect_equal(await fs.realpath("e/../e/b"), "e/b", "where a path leads")


def _tree(here: Path) -> Path:
    (here / "deep").mkdir(parents=True)
    (here / "a.txt").write_text("a")
    (here / "deep" / "b.bin").write_bytes(bytes(range(256)) * 2000)
    (here / "left.out").write_text("no")
    return here


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


@case
async def folders_go_up_and_down(check: ServiceCheck) -> None:
    """Whole folders are copied into a workspace and out of it."""
    fs = (await check.workspace()).fs
    with tempfile.TemporaryDirectory() as folder:
        here = _tree(Path(folder, "here"))
        up = await fs.upload(here, "there", exclude=["*.out"])
        expect_equal((up.files, up.size), (2, 512_001), "what went up")
        down = await fs.download("there", Path(folder, "back"))
        expect_equal((down.files, down.size), (2, 512_001), "what came down")
        expect(_same(Path(folder, "back", "deep", "b.bin"), here / "deep" / "b.bin"), "it is the same")


@case
async def changes_are_watched(check: ServiceCheck) -> None:
    """What changes in a folder is told."""
    fs = (await check.workspace()).fs
    await fs.make_dir("src")
    async with fs.watch("src") as watch:
        await fs.write_text("src/new.py", "x")
        seen: set[str] = set()
        with anyio.fail_after(20):
            while "src/new.py" not in seen:
                batch = await watch.receive()
                seen |= {event.path for event in batch.events}
                expect(not batch.overflow, "so little is never too much")


@case
async def git_is_asked(check: ServiceCheck) -> None:
    """What git says about a workspace is told, and a commit is made."""
    one = await check.workspace()
    git = check.service.git(one.info)
    expect((await git.status()).clean, "a new workspace is clean")
    await one.fs.write_text("new.txt", "hello\n")
    expect_equal((await git.status()).untracked, ("new.txt",), "what is untracked")
    made = await git.commit("Say hello", author=GitAuthor(name="A", email="a@example.com"))
    expect_equal([commit.id for commit in await git.log(limit=1)], [made.id], "the newest commit")
    expect_equal(await git.show("new.txt"), b"hello\n", "the file in it")
    expect("nexus/one" in [branch.name for branch in await git.branches()], "its branch is told")


CASES = tuple(each for each in tuple(globals().values()) if isinstance(each, ServiceCase))
