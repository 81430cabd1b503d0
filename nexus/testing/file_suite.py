"""The conformance suite of file access: one case for each promise of :mod:`nexus.abc.files`, wherever the files are."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import anyio
import anyio.lowlevel

from nexus.abc.files import FileAccess
from nexus.errors import (
    ContentModified,
    FsError,
    InvalidArgument,
    PathDenied,
    PathEscape,
    PathExists,
    PathIsADirectory,
    PathNotADirectory,
    PathNotFound,
)
from nexus.models.files import ABSENT, Edit, FileChange, FileKind
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.report import CaseResult, Outcome, Report

MakeFiles: TypeAlias = Callable[[], AbstractAsyncContextManager[FileAccess]]
"""Gives access to the files of an empty tree; entered once for every case, left when the case is over."""

_PATIENCE = 60.0
_STRANGE = "a b\nc'\"\\é*?"


@dataclass(frozen=True, slots=True)
class FileCase:
    """One promise, and the code that proves it."""

    name: str
    promise: str
    run: Callable[[FileAccess], Awaitable[None]]


_cases: list[FileCase] = []


def _case(run: Callable[[FileAccess], Awaitable[None]]) -> Callable[[FileAccess], Awaitable[None]]:
    name = getattr(run, "__name__", "case").replace("_", "-")
    _cases.append(FileCase(name, (inspect.getdoc(run) or "").partition("\n\n")[0], run))
    return run


@_case
async def bytes_come_back_as_they_were(fs: FileAccess) -> None:
    """What is written is read again: all, a part, from an offset, beyond the end; an empty file, too."""
    data = bytes(range(256)) * 700
    info = await fs.write_bytes("deep/er/f", data)
    expect_equal((info.path, info.kind, info.size), ("deep/er/f", FileKind.FILE, len(data)), "what was written")
    expect_equal(await fs.read_bytes("deep/er/f"), data, "the content")
    expect_equal(await fs.read_bytes("deep/er/f", offset=300, limit=5), data[300:305], "a part of it")
    expect_equal(await fs.read_bytes("deep/er/f", offset=len(data) + 1), b"", "what is beyond the end")
    expect_equal(await fs.read_bytes("deep/er/f", limit=0), b"", "nothing at all")
    await fs.write_bytes("empty", b"")
    expect_equal(await fs.read_bytes("empty"), b"", "an empty file")
    await expect_error(InvalidArgument, lambda: fs.read_bytes("empty", offset=-1), "a negative offset")


@_case
async def text_keeps_its_line_ends(fs: FileAccess) -> None:
    """Text is written and read in an encoding, line ends unchanged; what is no text is an error."""
    await fs.write_text("t", "é\r\n\n", encoding="utf-16")
    expect_equal(await fs.read_text("t", encoding="utf-16"), "é\r\n\n", "the text")
    await fs.write_bytes("b", b"\xff")
    await expect_error(FsError, lambda: fs.read_text("b"), "reading bytes that are no text")


@_case
async def names_may_be_strange(fs: FileAccess) -> None:
    """A name may hold blanks, line ends, quotes, a leading dash, and bytes that are no UTF-8."""
    strange = (_STRANGE, "-n", "$(x)", "end\n", b"\xff".decode("utf-8", "surrogateescape"))
    for name in strange:
        await fs.write_text(f"d/{name}", name.encode("utf-8", "replace").decode())
        expect_equal((await fs.stat(f"d/{name}")).name, name, "the name")
        await fs.rename(f"d/{name}", f"d/{name}2")
    names = [info.name async for info in fs.scan("d")]
    expect_equal(set(names), {f"{name}2" for name in strange}, "the names in the folder")
    await fs.remove("d", recursive=True)
    expect_equal(await fs.exists("d"), False, "whether the folder is there")


@_case
async def what_is_not_there_is_told(fs: FileAccess) -> None:
    """A missing path, a folder in the place of a file and the reverse are errors of their own kinds."""
    await fs.write_text("d/f", "x")
    for path, kind in (("no", PathNotFound), ("d/no/f", PathNotFound), ("d", PathIsADirectory)):
        await expect_error(kind, lambda path=path: fs.read_bytes(path), f"reading {path}")  # type: ignore[misc]
    await expect_error(PathNotADirectory, lambda: fs.read_bytes("d/f/x"), "reading below a file")
    await expect_error(PathIsADirectory, lambda: fs.write_bytes("d", b""), "writing over a folder")
    await expect_error(PathNotFound, lambda: fs.write_bytes("e/f", b"", parents=False), "writing into no folder")
    expect_equal([await fs.exists(p) for p in ("d", "d/f", "no", "d/f/x")], [True, True, False, False], "what is there")
    expect_equal([await fs.is_dir("d"), await fs.is_file("d"), await fs.is_file("d/f")], [True, False, True], "kinds")


@_case
async def nothing_leads_out_of_the_tree(fs: FileAccess) -> None:
    """``..`` above the root and an absolute path elsewhere are ``PathEscape``; ``.git`` is read and never changed."""
    await fs.write_text("a/b", "inside")
    for path in ("../x", "a/../../x", "/etc/passwd"):
        await expect_error(PathEscape, lambda path=path: fs.write_bytes(path, b"", parents=False), path)  # type: ignore[misc]
    expect_equal(await fs.read_text("a/../a/./b"), "inside", "a path that goes up and stays inside")
    for path in (".git", ".git/config", "a/../.git/hooks/x", ".GIT/x"):
        await expect_error(PathDenied, lambda path=path: fs.write_bytes(path, b""), f"writing {path}")  # type: ignore[misc]
    for path in ("", "a\0b"):
        await expect_error(InvalidArgument, lambda path=path: fs.stat(path), "a path that is none")  # type: ignore[misc]


@_case
async def one_writer_wins(fs: FileAccess) -> None:
    """``if_match`` writes only over what was read: of many who write over one content exactly one succeeds."""
    first = await fs.write_bytes("f", b"0", if_match=ABSENT)
    await expect_error(ContentModified, lambda: fs.write_bytes("f", b"1", if_match=ABSENT), "making it twice")
    won: list[int] = []

    async def write(number: int) -> None:
        try:
            await fs.write_bytes("f", b"%d" % number, if_match=first.etag)
        except ContentModified:
            return
        won.append(number)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(write, number)
    expect_equal(len(won), 1, "how many have won")
    expect_equal(await fs.read_bytes("f"), b"%d" % won[0], "the content")
    now = await fs.stat("f")
    expect(now.etag != first.etag, "another content has another etag")
    again = await fs.write_bytes("f", b"x", if_match=now.etag)
    expect(again.etag != now.etag, "a content of the same size has another etag")


@_case
async def permissions_stay(fs: FileAccess) -> None:
    """A file that is written again keeps its permissions; they can be given, and set; no other bits can."""
    await fs.write_bytes("f", b"1", mode=0o640)
    expect_equal((await fs.write_bytes("f", b"2")).mode, 0o640, "the permissions")
    expect_equal((await fs.write_bytes("f", b"3", mode=0o755)).mode, 0o755, "those that were given")
    expect_equal((await fs.set_mode("f", 0o600)).mode, 0o600, "those that were set")
    await expect_error(InvalidArgument, lambda: fs.set_mode("f", 0o4755), "set-user-id")
    await expect_error(PathNotFound, lambda: fs.set_mode("no", 0o600), "permissions of nothing")


@_case
async def large_files_pass_in_pieces(fs: FileAccess) -> None:
    """A file is written and read in pieces, from an offset, too; it appears only when all of it is there."""
    piece = bytes(range(256)) * 256
    async with fs.open_write("large", if_match=ABSENT) as writer:
        for _ in range(20):
            await writer.send(piece)
        expect_equal(await fs.exists("large"), False, "whether it is there while it is written")
    expect_equal(writer.info.size, 20 * len(piece), "its size")
    expect_equal([info.name async for info in fs.scan()], ["large"], "what is in the folder")
    async with fs.open_read("large", offset=len(piece)) as reader:
        received = b"".join([chunk async for chunk in reader])
    expect_equal(received == piece * 19, True, "whether it came back as it was")
    async with fs.open_read("large") as reader:
        expect_equal(await reader.receive(3), piece[:3], "the first bytes; the rest is not waited for")


class _Oops(Exception):
    pass


@_case
async def half_a_file_is_never_seen(fs: FileAccess) -> None:
    """A block that fails or is cancelled leaves the old file, and no other; so does one whose file was changed meanwhile."""
    await fs.write_text("f", "old")

    async def fail() -> None:
        async with fs.open_write("f") as writer:
            await writer.send(b"half")
            raise _Oops

    await expect_error(_Oops, fail, "the block's own error")
    with anyio.CancelScope() as scope:
        async with fs.open_write("f") as writer:
            await writer.send(b"half")
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    info = await fs.stat("f")

    async def overtaken() -> None:
        async with fs.open_write("f", if_match=info.etag) as writer:
            await writer.send(b"late")
            await fs.write_text("f", "new")

    await expect_error(ContentModified, overtaken, "a file that was changed meanwhile")
    expect_equal(await fs.read_text("f"), "new", "the content")
    expect_equal([info.name async for info in fs.scan()], ["f"], "what is in the folder")


@_case
async def edits_are_done_all_or_none(fs: FileAccess) -> None:
    """Pieces of a text are replaced, each exactly once; when one is not there nothing is."""
    await fs.write_text("f", "one two two three\r\n")
    done = await fs.edit("f", [Edit(old="one", new="1"), Edit(old="two", new="2", all=True)])
    expect_equal((done.replaced, await fs.read_text("f")), (3, "1 2 2 three\r\n"), "what was replaced")
    await expect_error(InvalidArgument, lambda: fs.edit("f", [Edit(old="1", new="x"), Edit(old="?", new="")]), "?")
    await expect_error(InvalidArgument, lambda: fs.edit("f", [Edit(old="2", new="x")]), "what is there twice")
    expect_equal(await fs.read_text("f"), "1 2 2 three\r\n", "the content after edits that failed")


@_case
async def folders_are_listed_by_name(fs: FileAccess) -> None:
    """A folder's entries come by name, folder after folder when all are asked for, in pages when there are many."""
    for path in ("b/2", "b/1", "a", ".h/x", "b/c/3"):
        await fs.write_bytes(path, b"")
    expect_equal([info.path async for info in fs.scan()], [".h", "a", "b"], "the root")
    every = ["a", "b", "b/1", "b/2", "b/c", "b/c/3"]
    expect_equal([i.path async for i in fs.scan(recursive=True, hidden=False)], every, "everything but what is hidden")
    page = await fs.list_page("b", limit=2)
    expect_equal(([info.name for info in page.entries], page.next), (["1", "2"], "2"), "the first page")
    page = await fs.list_page("b", after=page.next, limit=2)
    expect_equal(([info.name for info in page.entries], page.next), (["c"], None), "the last page")
    expect_equal([path async for path in fs.glob("**/[0-9]")], ["b/1", "b/2", "b/c/3"], "what matches a pattern")
    expect_equal([path async for path in fs.glob("no/*")], [], "what matches in no folder")

    async def scan(path: str) -> None:
        async for _ in fs.scan(path):
            pass

    await expect_error(PathNotFound, lambda: scan("no"), "a folder that is not there")
    await expect_error(PathNotADirectory, lambda: scan("a"), "a file")


@_case
async def folders_are_made_and_removed(fs: FileAccess) -> None:
    """Folders are made with those around them; one that holds something is removed only when that is asked for."""
    await fs.make_dir("a/b")
    await fs.make_dir("a/b")
    await expect_error(PathExists, lambda: fs.make_dir("a/b", exist_ok=False), "making it again")
    await expect_error(PathNotFound, lambda: fs.make_dir("x/y", parents=False), "one in no folder")
    await fs.write_bytes("a/f", b"")
    await expect_error(PathExists, lambda: fs.make_dir("a/f"), "one where a file is")
    error = await expect_error(FsError, lambda: fs.remove("a"), "removing one that is not empty")
    expect_equal(getattr(error, "errno", None), errno.ENOTEMPTY, "the number of the error")
    await fs.remove("a/b")
    await fs.remove("a", recursive=True)
    await expect_error(PathNotFound, lambda: fs.remove("a"), "removing what is not there")
    await fs.remove("a", missing_ok=True)
    await expect_error(PathDenied, lambda: fs.remove(".", recursive=True), "removing the root")


@_case
async def a_rename_replaces_only_when_asked(fs: FileAccess) -> None:
    """A file or folder gets another name in one step; what has that name already is replaced only when that is asked for."""
    await fs.write_text("a", "a")
    await fs.write_text("b", "b")
    await expect_error(PathExists, lambda: fs.rename("a", "b"), "a name that is taken")
    await fs.rename("a", "b", replace=True)
    expect_equal((await fs.read_text("b"), await fs.exists("a")), ("a", False), "what is there afterwards")
    await fs.make_dir("d/e")
    await fs.rename("d", "n")
    expect_equal(await fs.is_dir("n/e"), True, "whether the folder came along")
    await expect_error(PathNotFound, lambda: fs.rename("no", "x"), "renaming what is not there")


@_case
async def folders_are_copied_whole(fs: FileAccess) -> None:
    """A folder is copied with everything in it; never into itself, over something only when that is asked for."""
    await fs.write_bytes("d/e/f", b"x" * 1000, mode=0o755)
    await fs.write_bytes("d/g", b"")
    done = await fs.copy("d", "copy")
    expect_equal((done.files, done.size), (2, 1000), "what was copied")
    expect_equal((await fs.stat("copy/e/f")).mode, 0o755, "the permissions")
    await expect_error(PathExists, lambda: fs.copy("d", "copy"), "a name that is taken")
    await fs.copy("d", "copy", replace=True)
    await expect_error(InvalidArgument, lambda: fs.copy("d", "d/inner"), "copying it into itself")


@_case
async def trees_go_to_this_host_and_back(fs: FileAccess) -> None:
    """Folders are copied from this host and to it, without what is left out."""
    with TemporaryDirectory() as name:
        here = Path(name)
        (here / "from" / "sub").mkdir(parents=True)
        (here / "from" / "sub" / "run").write_bytes(b"#!/bin/sh\n")
        (here / "from" / "sub" / "run").chmod(0o755)
        (here / "from" / "left.pyc").write_bytes(b"")
        (here / "from" / "link").symlink_to("sub/run")
        done = await fs.upload(here / "from", "up", exclude=["*.pyc"])
        expect_equal((done.files, done.symlinks), (1, 1), "what was copied here")
        expect_equal((await fs.stat("up/link", follow=False)).target, "sub/run", "what the link says")
        expect_equal(await fs.read_text("up/link"), "#!/bin/sh\n", "what it leads to")
        expect_equal(await fs.realpath("up/link"), "up/sub/run", "where it leads")
        await fs.write_text("up/.git/x", "not the tree's own")
        await fs.download("up", here / "back")
        expect_equal((here / "back" / "sub" / "run").stat().st_mode & 0o777, 0o755, "the permissions here")
        expect_equal((here / "back" / "link").is_symlink(), True, "whether the link is one")
        await fs.upload(here / "from" / "sub" / "run", "single")
        await fs.download("single", here / "single")
        expect_equal((here / "single").read_bytes(), b"#!/bin/sh\n", "a single file")


@_case
async def links_stay_inside(fs: FileAccess) -> None:
    """A link is followed as long as it stays inside; one that leads out is told of and goes nowhere."""
    with TemporaryDirectory() as name:
        here = Path(name)
        for link, target in (
            ("in", "../d"),
            ("out", "/etc"),
            ("up", "../../.."),
            ("dead", "nothing"),
            ("loop", "loop"),
        ):
            (here / link).symlink_to(target)
        await fs.make_dir("links")
        await fs.write_text("d/f", "x")
        await fs.upload(here, "links")
    expect_equal(await fs.read_text("links/in/f"), "x", "what an inner link leads to")
    for path in ("links/out/passwd", "links/out", "links/up"):
        await expect_error(PathEscape, lambda path=path: fs.stat(path), path)  # type: ignore[misc]
    await expect_error(PathEscape, lambda: fs.write_bytes("links/out/x", b""), "writing through a link that leads out")
    await expect_error(PathNotFound, lambda: fs.stat("links/dead"), "a link to nothing")
    await expect_error(FsError, lambda: fs.stat("links/loop"), "a link to itself")
    expect_equal((await fs.stat("links/out", follow=False)).kind, FileKind.SYMLINK, "the kind of a link")
    await fs.write_bytes("links/in/new", b"y")
    expect_equal(await fs.read_bytes("d/new"), b"y", "what was written through an inner link")
    await fs.remove("links/in")
    expect_equal(await fs.exists("d/f"), True, "whether what a removed link led to is there")


@_case
async def lines_are_found(fs: FileAccess) -> None:
    """Lines that match come file after file with their numbers; what git ignores and what is no text is left out."""
    await fs.write_text("a.py", "import os\nx\nimport re\n")
    await fs.write_text("b/c.txt", "important\n")
    await fs.write_bytes("bin", b"import\0")
    await fs.write_text("out/o.py", "import\n")
    await fs.write_text(".gitignore", "out/\n")
    found = [(m.path, m.line, m.text[m.start : m.end]) async for m in fs.grep(r"^import\b")]
    expect_equal(found, [("a.py", 1, "import"), ("a.py", 3, "import")], "what was found")
    found = [(m.path, m.line, m.text) async for m in fs.grep("IMPORT", case="insensitive", ignored=True, path="b")]
    expect_equal(found, [("b/c.txt", 1, "important")], "what was found in a folder")
    expect_equal(len([m async for m in fs.grep("import", regex=False, limit=2)]), 2, "how many were found at most")
    expect_equal([m.path async for m in fs.grep("import", include=["*.txt"])], ["b/c.txt"], "in files of one kind")
    expect_equal([m.path async for m in fs.grep("import", exclude=["b", "a*"])], [], "without what is left out")


@_case
async def changes_are_told(fs: FileAccess) -> None:
    """A watch tells what was made, changed and removed after it began, each path once in a batch, and nothing of ``.git``."""
    await fs.write_text("src/a", "1")
    wanted = {"src/a": FileChange.CHANGED, "src/b": FileChange.CREATED}
    seen: dict[str, FileChange] = {}
    async with fs.watch("src") as watch:
        await fs.write_text("src/a", "changed")
        await fs.write_text("src/b", "new")
        await fs.write_text("elsewhere", "not watched")
        while not wanted.items() <= seen.items():
            seen.update({event.path: event.kind for event in (await watch.receive()).events})
        await fs.remove("src/a")
        while seen["src/a"] is not FileChange.DELETED:
            seen.update({event.path: event.kind for event in (await watch.receive()).events})
    expect_equal(set(seen), {"src/a", "src/b"}, "what was told of")


FILE_CASES: Final[tuple[FileCase, ...]] = tuple(_cases)
"""Every case, in the order in which the suite runs them."""


async def check_files(make: MakeFiles, *, subject: str, cases: Sequence[FileCase] = FILE_CASES) -> Report:
    """Prove that file access keeps the promises of :mod:`nexus.abc.files`. Needs no test framework.

    Args:
        make: Gives access to an empty tree.
        subject: What is tested, for the report.
        cases: Which cases to run, one after the other.

    Returns:
        A report with one result for each case. A failing case never stops the suite.
    """
    return Report(subject=subject, results=tuple([await run_file_case(each, make) for each in cases]))


async def run_file_case(case: FileCase, make: MakeFiles) -> CaseResult:
    """Run one case, for those who want each as a test of their own framework."""
    try:
        with anyio.fail_after(_PATIENCE):
            async with make() as files:
                await case.run(files)
    except Exception as error:  # noqa: BLE001 - whatever it raises is a finding, not the end of the suite
        return CaseResult(
            name=case.name, outcome=Outcome.FAILED, reason=f"{type(error).__name__}: {error}", error=error
        )
    return CaseResult(name=case.name, outcome=Outcome.PASSED)
