from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import (
    Busy,
    ContentModified,
    FsError,
    InvalidArgument,
    PathDenied,
    PathEscape,
    PathExists,
    PathIsADirectory,
    PathNotADirectory,
    PathNotFound,
    WorkspaceGone,
)
from nexus.handles.glob_pattern import Exclusion, GlobPattern
from nexus.models.files import ABSENT, Edit, Etag, FileInfo, FileKind
from nexus.workspace import replacing
from nexus.workspace.files import FileSystem
from nexus.workspace.files_write import apply_edits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return tree


@pytest.fixture
def fs(root: Path) -> Iterator[FileSystem]:
    before = names_in(Path("/proc/self/fd"))
    yield FileSystem(root, aliases=("/workspace",))
    leaked = len(names_in(Path("/proc/self/fd"))) - len(before)
    assert leaked <= 0, f"{leaked} descriptors left open"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_making_one_does_nothing(tmp_path: Path) -> None:
    FileSystem(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


# Reading -----------------------------------------------------------------------------------------------------------------


async def test_read(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes(b"0123456789")
    assert await fs.read_bytes("f") == b"0123456789"
    assert await fs.read_bytes("f", offset=3, limit=4) == b"3456"
    assert await fs.read_bytes("f", offset=8, limit=100) == b"89"
    assert await fs.read_bytes("f", offset=100) == b""
    assert await fs.read_bytes("f", limit=0) == b""
    assert await fs.read_bytes("/workspace/f") == b"0123456789"
    assert await fs.read_bytes(str(root / "f")) == b"0123456789"
    for offset, limit in ((-1, None), (0, -1)):
        with pytest.raises(InvalidArgument):
            await fs.read_bytes("f", offset=offset, limit=limit)


async def test_read_more_than_one_chunk(fs: FileSystem, root: Path) -> None:
    data = os.urandom(3_000_000)
    (root / "f").write_bytes(data)
    assert await fs.read_bytes("f") == data
    assert await fs.read_bytes("f", offset=7, limit=2_500_000) == data[7:2_500_007]


async def test_read_text(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes("é\r\n".encode())
    assert await fs.read_text("f") == "é\r\n"
    (root / "f").write_bytes(b"ok\xff")
    with pytest.raises(FsError, match="byte 2 is 0xff"):
        await fs.read_text("f")
    assert await fs.read_text("f", errors="replace") == "ok\ufffd"
    assert await fs.read_text("f", encoding="latin-1") == "okÿ"
    with pytest.raises(InvalidArgument):
        await fs.read_text("f", encoding="no-such-codec")


async def test_errors_are_ours_and_the_standard_library_s(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").touch()
    with pytest.raises(PathNotFound) as missing:
        await fs.read_bytes("d/x")
    assert isinstance(missing.value, FileNotFoundError)
    assert (missing.value.errno, missing.value.filename) == (errno.ENOENT, "d/x")
    with pytest.raises(PathIsADirectory):
        await fs.read_bytes("d")
    with pytest.raises(PathNotADirectory):
        await fs.read_bytes("f/x")
    with pytest.raises(FsError) as long:
        await fs.read_bytes("n" * 300)
    assert long.value.errno == errno.ENAMETOOLONG


async def test_tree_that_is_gone(tmp_path: Path) -> None:
    fs = FileSystem(tmp_path / "gone")
    with pytest.raises(WorkspaceGone):
        await fs.read_bytes("f")
    with pytest.raises(WorkspaceGone):
        await fs.write_bytes("f", b"")
    with pytest.raises(WorkspaceGone):
        await fs.exists("f")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("path", ["../outside/secret", "/etc/passwd", "out/secret", "direct"])
async def test_nothing_leads_out(fs: FileSystem, root: Path, path: str) -> None:
    (root / "out").symlink_to("../outside")
    (root / "direct").symlink_to(root.parent / "outside/secret")
    (root / "f").write_text("x")
    calls: list[Callable[[], Awaitable[object]]] = [
        partial(fs.read_bytes, path),
        partial(fs.write_bytes, path, b"x"),
        partial(fs.edit, path, [Edit(old="secret", new="x")]),
        partial(fs.stat, path),
        partial(fs.exists, path),
        partial(fs.make_dir, path),
        partial(first, fs.scan(path)),
    ]
    if path != "direct":  # the calls below act on the link itself
        calls += [
            partial(fs.remove, path),
            partial(fs.rename, path, "x"),
            partial(fs.rename, "f", path),
            partial(fs.copy, "f", path),
            partial(fs.copy, path, "x"),
        ]
    for call in calls:
        with pytest.raises(PathEscape):
            await call()
    assert contents(root.parent / "outside") == {"secret": "secret"}


async def test_special_files_are_refused_without_blocking(fs: FileSystem, root: Path) -> None:
    os.mkfifo(root / "fifo")
    server = socket.socket(socket.AF_UNIX)
    home = Path.cwd()
    os.chdir(root)  # a socket's path is short
    try:
        server.bind("sock")
    finally:
        os.chdir(home)
    try:
        for name, word in (("fifo", "a FIFO"), ("sock", "a socket")):
            assert (await fs.stat(name)).kind is FileKind.OTHER
            with pytest.raises(FsError, match=word):
                await fs.read_bytes(name)
            with pytest.raises(FsError, match=word):
                await fs.write_bytes(name, b"x")
            with pytest.raises(FsError, match=word):
                await fs.copy(name, "copy")
            await fs.remove(name)
    finally:
        server.close()
    assert names_in(root) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
async def test_devices_are_refused(fs: FileSystem, root: Path) -> None:
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(FsError, match="a device"):
        await fs.read_bytes("null")
    with pytest.raises(FsError, match="a device"):
        await fs.write_bytes("null", b"x")


async def test_stat(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/f").write_bytes(b"12345")
    (root / "d/f").chmod(0o640)
    (root / "l").symlink_to("d/f")
    info = await fs.stat("d//./f")
    assert (info.path, info.name, info.kind, info.size, info.mode) == ("d/f", "f", FileKind.FILE, 5, 0o640)
    assert info.mtime == (root / "d/f").stat().st_mtime
    assert (await fs.stat("l")).etag == info.etag
    link = await fs.stat("l", follow=False)
    assert (link.kind, link.target) == (FileKind.SYMLINK, "d/f")
    assert (await fs.stat(".")).path == "."


async def test_asking(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").touch()
    (root / "broken").symlink_to("nowhere")
    asked = {name: (await fs.exists(name), await fs.is_file(name), await fs.is_dir(name)) for name in names_in(root)}
    assert asked == {
        "d": (True, False, True),
        "f": (True, True, False),
        "broken": (False, False, False),
    }
    assert not await fs.exists("f/below")


async def first(entries: AsyncGenerator[FileInfo, None]) -> FileInfo:
    return await anext(entries)


# Scanning ----------------------------------------------------------------------------------------------------------------


async def test_scan(fs: FileSystem, root: Path) -> None:
    for path in ("b/c/deep", "b/x", "a", ".hidden/y"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / "link").symlink_to("b")
    (root / "out").symlink_to(root.parent / "outside")
    assert [info.path async for info in fs.scan()] == [".hidden", "a", "b", "link", "out"]
    assert [info.path async for info in fs.scan(hidden=False)] == ["a", "b", "link", "out"]
    everything = [info.path async for info in fs.scan(recursive=True)]
    assert everything == [".hidden", "a", "b", "link", "out", ".hidden/y", "b/c", "b/x", "b/c/deep"]
    assert [i.path async for i in fs.scan(recursive=True, hidden=False)] == everything[1:5] + everything[6:]
    assert [info.path async for info in fs.scan("link")] == ["link/c", "link/x"]
    assert {info.path: info.target async for info in fs.scan()}["link"] == "b"


async def test_scan_of_what_is_no_folder(fs: FileSystem, root: Path) -> None:
    (root / "f").touch()
    with pytest.raises(PathNotADirectory):
        await anext(fs.scan("f"))
    with pytest.raises(PathNotFound):
        await anext(fs.scan("nothing"))


async def test_scan_of_ten_thousand_entries(fs: FileSystem, root: Path) -> None:
    expected = [f"{number:05}" for number in range(10_000)]
    for name in expected:
        (root / name).touch()
    assert [info.path async for info in fs.scan()] == expected


async def test_scan_that_is_dropped_leaves_nothing_open(fs: FileSystem, root: Path) -> None:
    for number in range(3):
        (root / str(number)).touch()
    scan = fs.scan()
    assert (await anext(scan)).path == "0"
    await scan.aclose()  # the fixture counts descriptors


async def test_names_that_are_no_utf8(fs: FileSystem, root: Path) -> None:
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    (info,) = [info async for info in fs.scan()]
    assert os.fsencode(info.path) == b"caf\xe9"
    assert await fs.read_bytes(info.path) == b"x"
    await fs.write_bytes(info.path, b"y")
    await fs.rename(info.path, "plain")
    assert (root / "plain").read_bytes() == b"y"


async def test_deep_paths(fs: FileSystem, root: Path) -> None:
    path = "/".join(["d" * 100] * 50)
    assert len(path) > 4096
    await fs.write_text(f"{path}/file", "deep")
    assert await fs.read_text(f"{path}/file") == "deep"
    assert (await fs.edit(f"{path}/file", [Edit(old="deep", new="done")])).replaced == 1
    assert [i.path async for i in fs.scan(recursive=True) if i.kind is FileKind.FILE] == [f"{path}/file"]
    await fs.copy("d" * 100, "copy")
    await fs.remove("d" * 100, recursive=True)
    assert names_in(root) == ["copy"]
    await fs.remove("copy", recursive=True)


async def test_removing_a_tree_deeper_than_any_stack(fs: FileSystem, root: Path) -> None:
    fd = os.open(root, os.O_PATH)
    for _ in range(3000):
        os.mkdir("x", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        deeper = os.open("x", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    await fs.remove("x", recursive=True)
    assert names_in(root) == ["file"]


async def test_glob(fs: FileSystem, root: Path) -> None:
    for path in ("a.py", "src/b.py", "src/deep/c.py", "src/deep/d.txt", ".hid/e.py", "[x]/f.py"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / "link").symlink_to("src")

    async def glob(pattern: str) -> list[str]:
        return sorted([path async for path in fs.glob(pattern)])

    assert await glob("*.py") == ["a.py"]
    assert await glob("**/*.py") == [".hid/e.py", "[x]/f.py", "a.py", "src/b.py", "src/deep/c.py"]
    assert await glob("src/**") == ["src/b.py", "src/deep", "src/deep/c.py", "src/deep/d.txt"]
    assert await glob("src/deep/?.t[xy]t") == ["src/deep/d.txt"]
    assert await glob("src/b.py") == ["src/b.py"]
    assert await glob("*/*/c.py") == ["src/deep/c.py"]
    assert await glob("link/*.py") == ["link/b.py"]
    assert await glob("nothing/*.py") == []
    assert await glob("a.py/*") == []
    for bad in ("", "/etc/*", "../*", "."):
        with pytest.raises(InvalidArgument):
            await glob(bad)


names = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4)
patterns = st.lists(st.sampled_from(["a", "b", "*", "a*", "?", "**"]), min_size=1, max_size=4)


def naive(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return naive(pattern[1:], path) or (bool(path) and naive(pattern, path[1:]))
    one = {"a": {"a"}, "b": {"b"}, "*": {"a", "b", "ab"}, "a*": {"a", "ab"}, "?": {"a", "b"}}[pattern[0]]
    return bool(path) and path[0] in one and naive(pattern[1:], path[1:])


@given(pattern=patterns, path=names)
def test_glob_pattern_matches_as_defined(pattern: list[str], path: list[str]) -> None:
    parsed = GlobPattern.parse("/".join(pattern))
    below = path[len(parsed.prefix) :]
    inside = tuple(path[: len(parsed.prefix)]) == parsed.prefix
    assert (inside and parsed.matches(below)) == naive(pattern, path)
    if inside and parsed.matches(below):
        assert all(parsed.may_match_below(below[:end]) for end in range(len(below)))


def test_exclusion() -> None:
    leave_out = Exclusion.parse(["node_modules", "*.pyc", "docs/build", "logs/**/*.log"])
    for path in ("node_modules", "a/node_modules", "a/x.pyc", "docs/build", "logs/x.log", "logs/a/b/x.log"):
        assert tuple(path.split("/")) in leave_out
    for path in ("a/docs/build", "docs", "x.py", "other/x.log"):
        assert tuple(path.split("/")) not in leave_out


# Writing -----------------------------------------------------------------------------------------------------------------


async def test_write_makes_folders_and_returns_what_is_there(fs: FileSystem, root: Path) -> None:
    info = await fs.write_text("a/b/f.txt", "é\r\n")
    assert (root / "a/b/f.txt").read_bytes() == "é\r\n".encode()
    assert info == await fs.stat("a/b/f.txt")
    assert names_in(root / "a/b") == ["f.txt"]
    with pytest.raises(PathNotFound):
        await fs.write_text("x/f", "", parents=False)
    with pytest.raises(PathIsADirectory):
        await fs.write_text("a", "")
    with pytest.raises(PathIsADirectory):
        await fs.write_text(".", "")
    with pytest.raises(PathNotADirectory):
        await fs.write_text("a/b/f.txt/x", "")
    with pytest.raises(InvalidArgument):
        await fs.write_text("f", "\ud800")


async def test_write_replaces_in_one_step(fs: FileSystem, root: Path) -> None:
    await fs.write_text("f", "old")
    reader = os.open(root / "f", os.O_RDONLY)
    try:
        await fs.write_text("f", "new")
        assert os.read(reader, 10) == b"old"
    finally:
        os.close(reader)
    assert (root / "f").read_text() == "new"


async def test_other_hard_links_keep_the_old_content(fs: FileSystem, root: Path) -> None:
    outside = root.parent / "outside/secret"
    os.link(outside, root / "f")
    await fs.write_text("f", "new")
    assert ((root / "f").read_text(), outside.read_text()) == ("new", "secret")


async def test_permissions(fs: FileSystem, root: Path) -> None:
    await fs.write_text("script", "x", mode=0o750)
    assert (root / "script").stat().st_mode & 0o7777 == 0o750
    await fs.write_text("script", "y")
    assert (root / "script").stat().st_mode & 0o7777 == 0o750
    (root / "script").chmod(0o4755)
    await fs.write_text("script", "z")
    assert (root / "script").stat().st_mode & 0o7777 == 0o755
    (root / "plain").touch()
    await fs.write_text("new", "")
    assert (root / "new").stat().st_mode == (root / "plain").stat().st_mode
    for mode in (-1, 0o1777, 0o4755):
        with pytest.raises(InvalidArgument):
            await fs.write_text("f", "", mode=mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_root_writes_files_for_their_owner(fs: FileSystem, root: Path) -> None:
    (root / "theirs").touch()
    os.chown(root / "theirs", 1234, 4321)
    os.chown(root, 1234, 1234)
    await fs.write_text("theirs", "x")
    await fs.write_text("d/new", "x")
    owners = {path: ((root / path).stat().st_uid, (root / path).stat().st_gid) for path in ("theirs", "d", "d/new")}
    assert owners == {"theirs": (1234, 4321), "d": (1234, 1234), "d/new": (1234, 1234)}


async def test_write_through_a_link_keeps_the_link(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/real").write_text("old")
    (root / "link").symlink_to("d/real")
    (root / "new").symlink_to("/workspace/d/made")
    await fs.write_text("link", "written")
    await fs.write_text("new", "made")
    assert contents(root) == {
        "d/made": "made",
        "d/real": "written",
        "link": "-> d/real",
        "new": "-> /workspace/d/made",
    }


async def test_failed_write_leaves_nothing(fs: FileSystem, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fs.write_text("f", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nexus.workspace.files_write.write_all", full)
    with pytest.raises(FsError) as caught:
        await fs.write_text("f", "new")
    assert caught.value.errno == errno.ENOSPC
    assert contents(root) == {"f": "old"}
    assert names_in(root) == ["f"]


@pytest.mark.parametrize("path", [".git", "./.git", "d/../.git", "/workspace/.git", "link"])
async def test_git_pointer_is_read_only(fs: FileSystem, root: Path, path: str) -> None:
    (root / ".git").write_text("gitdir: /repo/.git/worktrees/x\n")
    (root / "d").mkdir()
    (root / "link").symlink_to(".git")
    assert (await fs.read_text(path)).startswith("gitdir:")
    with pytest.raises(PathDenied):
        await fs.write_text(path, "gitdir: /evil")
    with pytest.raises(PathDenied):
        await fs.edit(path, [Edit(old="repo", new="evil")])
    if path != "link":
        for call in (fs.remove(path), fs.rename(path, "x"), fs.rename("d", path, replace=True), fs.copy("d", path)):
            with pytest.raises(PathDenied):
                await call
    assert contents(root)[".git"] == "gitdir: /repo/.git/worktrees/x\n"


# Etags -------------------------------------------------------------------------------------------------------------------


async def test_if_match(fs: FileSystem, root: Path) -> None:
    first = await fs.write_text("f", "1", if_match=ABSENT)
    second = await fs.write_text("f", "2", if_match=first.etag)
    for stale in (first.etag, ABSENT, Etag("nonsense")):
        with pytest.raises(ContentModified):
            await fs.write_text("f", "3", if_match=stale)
    assert (root / "f").read_text() == "2"
    (root / "f").write_text("by somebody else")
    with pytest.raises(ContentModified):
        await fs.edit("f", [Edit(old="by", new="x")], if_match=second.etag)
    await fs.remove("f")
    with pytest.raises(ContentModified, match="removed"):
        await fs.write_text("f", "3", if_match=second.etag)
    assert names_in(root) == []


async def test_etags_never_repeat(fs: FileSystem) -> None:
    etags = [(await fs.write_bytes("f", b"same size")).etag for _ in range(300)]
    assert len(set(etags)) == len(etags)


async def test_of_concurrent_writers_with_one_etag_one_wins(fs: FileSystem, root: Path) -> None:
    other = FileSystem(root)
    for turn in range(20):
        etag = (await fs.write_text("f", "start")).etag
        won: list[int] = []

        async def write(number: int, etag: Etag = etag, won: list[int] = won) -> None:
            try:
                await (fs if number % 2 else other).write_text("f", f"{number}", if_match=etag)
            except ContentModified:
                return
            won.append(number)

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(write, number)
        assert len(won) == 1, turn
        assert (root / "f").read_text() == str(won[0])


async def test_concurrent_edits_all_count(fs: FileSystem, root: Path) -> None:
    await fs.write_text("f", "".join(f"<{number}>" for number in range(20)))

    async def edit(number: int) -> None:
        await fs.edit("f", [Edit(old=f"<{number}>", new=f"[{number}]")])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(edit, number)
    assert (root / "f").read_text() == "".join(f"[{number}]" for number in range(20))


async def test_lock_that_is_never_let_go(fs: FileSystem, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(replacing, "_TURN", 0.01)
    held = os.open(root, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(Busy):
            await fs.write_text("f", "x")
    finally:
        os.close(held)
    assert names_in(root) == []


# Editing -----------------------------------------------------------------------------------------------------------------


async def test_edit(fs: FileSystem, root: Path) -> None:
    (root / "f").write_bytes(b"one two\r\ntwo \xff three\r\n")
    result = await fs.edit("f", [Edit(old="one ", new=""), Edit(old="two", new="2", all=True)])
    assert (root / "f").read_bytes() == b"2\r\n2 \xff three\r\n"
    assert result.replaced == 3
    assert result.info == await fs.stat("f")


async def test_edits_are_done_all_or_none(fs: FileSystem, root: Path) -> None:
    (root / "f").write_text("one two two")
    before = (await fs.stat("f")).etag
    with pytest.raises(InvalidArgument) as missing:
        await fs.edit("f", [Edit(old="one", new="1"), Edit(old="three", new="3")])
    assert (missing.value.details["edit"], missing.value.details["found"]) == (2, 0)
    with pytest.raises(InvalidArgument, match="more than once") as twice:
        await fs.edit("f", [Edit(old="two", new="2")])
    assert twice.value.details["found"] == 2
    with pytest.raises(InvalidArgument):
        await fs.edit("f", [])
    with pytest.raises(PathNotFound):
        await fs.edit("nothing", [Edit(old="a", new="b")])
    assert (await fs.stat("f")).etag == before
    with pytest.raises(InvalidArgument):
        Edit(old="", new="x")


def test_places_that_overlap_are_two() -> None:
    with pytest.raises(InvalidArgument, match="more than once"):
        apply_edits(b"aaa", [Edit(old="aa", new="b")])


@given(
    before=st.text(max_size=20),
    old=st.text(min_size=1, max_size=5),
    after=st.text(max_size=20),
    new=st.text(max_size=5),
)
def test_edit_replaces_exactly_what_it_says(before: str, old: str, after: str, new: str) -> None:
    whole = before + old + after
    if whole.find(old, whole.find(old) + 1) >= 0:
        with pytest.raises(InvalidArgument):
            apply_edits(whole.encode(), [Edit(old=old, new=new)])
    else:
        assert apply_edits(whole.encode(), [Edit(old=old, new=new)]) == (whole.replace(old, new).encode(), 1)


# Folders, removing, renaming ---------------------------------------------------------------------------------------------


async def test_make_dir(fs: FileSystem, root: Path) -> None:
    await fs.make_dir("a/b/c")
    await fs.make_dir("a/b/c")
    await fs.make_dir(".")
    (root / "f").touch()
    (root / "link").symlink_to("a/b")
    await fs.make_dir("link")
    await fs.make_dir("link/d")
    assert (root / "a/b/d").is_dir()
    with pytest.raises(PathExists):
        await fs.make_dir("a/b", exist_ok=False)
    with pytest.raises(PathExists):
        await fs.make_dir("f")
    with pytest.raises(PathNotADirectory):
        await fs.make_dir("f/x")
    with pytest.raises(PathNotFound):
        await fs.make_dir("x/y", parents=False)
    with pytest.raises(PathDenied):
        await fs.make_dir(".git/hooks")


async def test_remove(fs: FileSystem, root: Path) -> None:
    (root / "d/e").mkdir(parents=True)
    (root / "d/f").touch()
    (root / "d/out").symlink_to(root.parent / "outside")
    (root / "link").symlink_to("d")
    await fs.remove("link")
    assert (root / "d/f").exists()
    with pytest.raises(FsError) as full:
        await fs.remove("d")
    assert full.value.errno == errno.ENOTEMPTY
    await fs.remove("d/e")
    await fs.remove("d", recursive=True)
    assert names_in(root) == []
    assert contents(root.parent / "outside") == {"secret": "secret"}
    with pytest.raises(PathNotFound):
        await fs.remove("d")
    await fs.remove("d", missing_ok=True)
    await fs.remove("d/e", recursive=True, missing_ok=True)
    for top in (".", "/workspace", "x/.."):
        (root / "x").mkdir(exist_ok=True)
        with pytest.raises(PathDenied):
            await fs.remove(top, recursive=True)


async def test_cancelled_remove_stops(fs: FileSystem, root: Path) -> None:
    for number in range(50):
        (root / f"d/{number}").mkdir(parents=True)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await fs.remove("d", recursive=True)
    assert scope.cancelled_caught
    assert (root / "d").exists()


async def test_rename(fs: FileSystem, root: Path) -> None:
    (root / "f").write_text("f")
    (root / "g").write_text("g")
    (root / "d").mkdir()
    (root / "link").symlink_to("f")
    with pytest.raises(PathExists) as taken:
        await fs.rename("f", "g")
    assert taken.value.filename == "g"
    await fs.rename("f", "g", replace=True)
    await fs.rename("g", "d/g")
    await fs.rename("link", "d/link")
    await fs.rename("d", "e")
    assert contents(root) == {"e/g": "f", "e/link": "-> f"}
    with pytest.raises(PathNotFound) as source:
        await fs.rename("nothing", "x")
    assert source.value.filename == "nothing"
    with pytest.raises(PathNotFound) as target:
        await fs.rename("e", "no/where")
    assert target.value.filename == "no/where"
    with pytest.raises(FsError):
        await fs.rename("e", "e/inside")
    with pytest.raises(PathDenied):
        await fs.rename(".", "x")
    assert contents(root) == {"e/g": "f", "e/link": "-> f"}


# Copying -----------------------------------------------------------------------------------------------------------------


def plant(folder: Path) -> dict[str, str]:
    for path, text in {"a": "1", "d/b": "22", "d/e/c.pyc": "333", "node_modules/m": "4"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "d/link").symlink_to("../a")
    (folder / "a").chmod(0o755)
    (folder / "empty").mkdir()
    return contents(folder)


async def test_copy_file_and_link(fs: FileSystem, root: Path) -> None:
    plant(root)
    result = await fs.copy("a", "z")
    assert (result.files, result.size) == (1, 1)
    assert (root / "z").stat().st_mode & 0o777 == 0o755
    await fs.copy("d/link", "l")
    assert (root / "l").readlink() == Path("../a")
    with pytest.raises(PathExists):
        await fs.copy("a", "d/b")
    await fs.copy("a", "d/b", replace=True)
    assert (root / "d/b").read_text() == "1"


async def test_copy_folder(fs: FileSystem, root: Path) -> None:
    plant(root)
    result = await fs.copy("d", "copy")
    assert contents(root / "copy") == contents(root / "d")
    assert (result.files, result.directories, result.symlinks, result.size) == (2, 2, 1, 5)
    with pytest.raises(PathExists):
        await fs.copy("d", "copy")
    (root / "copy/b").write_text("changed")
    (root / "copy/own").write_text("own")
    await fs.copy("d", "copy", replace=True)
    assert contents(root / "copy") == {**contents(root / "d"), "own": "own"}
    for inside in ("d/x", "d/e/x", "d"):
        with pytest.raises((InvalidArgument, PathExists)):
            await fs.copy("d", inside)
    with pytest.raises(InvalidArgument):
        await fs.copy("d", "d/new")


async def test_upload(fs: FileSystem, root: Path, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.mkdir()
    expected = plant(local)
    result = await fs.upload(local, "x/y", exclude=["node_modules", "d/e/*.pyc"])
    del expected["node_modules/m"], expected["d/e/c.pyc"]
    assert contents(root / "x/y") == expected
    assert (root / "x/y/empty").is_dir()
    assert (root / "x/y/a").stat().st_mode & 0o777 == 0o755
    assert (result.files, result.symlinks, result.skipped) == (2, 1, ())
    await fs.upload(local / "a", "single/file")
    assert (root / "single/file").read_text() == "1"
    with pytest.raises(PathNotFound) as missing:
        await fs.upload(tmp_path / "nothing", "x")
    assert missing.value.filename == str(tmp_path / "nothing")
    with pytest.raises(InvalidArgument):
        await fs.upload(local, "x", exclude="node_modules")


async def test_upload_into_the_root_never_touches_git(fs: FileSystem, root: Path, tmp_path: Path) -> None:
    (root / ".git").write_text("gitdir: /repo")
    local = tmp_path / "local"
    local.mkdir()
    (local / ".git").write_text("gitdir: /evil")
    (local / "f").write_text("f")
    with pytest.raises(PathDenied):
        await fs.upload(local, ".")
    await fs.upload(local, ".", exclude=[".git"])
    with pytest.raises(PathDenied):
        await fs.upload(local / "f", ".git")
    assert contents(root) == {".git": "gitdir: /repo", "f": "f"}


async def test_upload_never_writes_through_links(fs: FileSystem, root: Path, tmp_path: Path) -> None:
    local = tmp_path / "local"
    (local / "d").mkdir(parents=True)
    (local / "d/secret").write_text("evil")
    (local / "f").write_text("evil")
    (root / "x").mkdir()
    (root / "x/d").symlink_to(tmp_path / "outside")
    (root / "x/f").symlink_to(tmp_path / "outside/secret")
    with pytest.raises(FsError, match="in the way"):
        await fs.upload(local, "x")
    (root / "x/f").unlink()
    with pytest.raises(FsError, match="in the way"):
        await fs.upload(local, "x")
    assert contents(tmp_path / "outside") == {"secret": "secret"}


async def test_download(fs: FileSystem, root: Path, tmp_path: Path) -> None:
    expected = plant(root)
    (root / ".git").write_text("gitdir: /repo")
    (root / "d/out").symlink_to("../../outside")
    (root / "d/abs").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    result = await fs.download(".", tmp_path / "there", exclude=["*.pyc"])
    del expected["d/e/c.pyc"]
    assert contents(tmp_path / "there") == expected
    assert sorted(line.partition(":")[0] for line in result.skipped) == [".git", "d/abs", "d/out", "fifo"]
    await fs.download("a", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "1"
    with pytest.raises(PathNotFound) as missing:
        await fs.download("a", tmp_path / "no/where")
    assert missing.value.filename == str(tmp_path / "no")


async def test_download_never_writes_through_links(fs: FileSystem, root: Path, tmp_path: Path) -> None:
    (root / "d").mkdir()
    (root / "d/secret").write_text("evil")
    there = tmp_path / "there"
    there.mkdir()
    (there / "d").symlink_to(tmp_path / "outside")
    with pytest.raises(FsError, match="in the way"):
        await fs.download(".", there)
    assert contents(tmp_path / "outside") == {"secret": "secret"}


async def test_tree_that_is_uploaded_into_itself_ends(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    tree = repository / ".nexus/worktrees/a"
    tree.mkdir(parents=True)
    (repository / "f").write_text("f")
    result = await FileSystem(tree).upload(repository, "copy")
    assert contents(tree) == {"copy/f": "f"}
    assert any("copied into" in line for line in result.skipped)


async def test_folders_that_may_not_be_written_are_copied(fs: FileSystem, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/inner").mkdir()
    (root / "d/inner/f").write_text("x")
    (root / "d/inner").chmod(0o555)
    await fs.copy("d", "e")
    assert (root / "e/inner").stat().st_mode & 0o777 == 0o555
    assert contents(root / "e") == {"inner/f": "x"}


# Races -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def swapped(root: Path) -> Iterator[str]:
    """A name that a program inside turns from a folder into a link to the outside and back, all the time, in one step each."""
    (root / "swap").mkdir()
    (root / "other").symlink_to(root.parent / "outside")
    libc = ctypes.CDLL(None, use_errno=True)
    names = [os.fsencode(root / name) for name in ("swap", "other")]
    stop = threading.Event()
    failed: list[int] = []

    def keep_swapping() -> None:
        while not stop.is_set() and not failed:
            if libc.renameat2(-100, names[0], -100, names[1], 2) != 0:  # RENAME_EXCHANGE
                failed.append(ctypes.get_errno())

    thread = threading.Thread(target=keep_swapping)
    thread.start()
    try:
        yield "swap"
    finally:
        stop.set()
        thread.join()
    assert not failed


async def test_folder_swapped_for_a_link_during_calls(fs: FileSystem, root: Path, swapped: str) -> None:
    outside = root.parent / "outside"
    (root.parent / "up").mkdir()
    (root.parent / "up/f").write_text("inside")
    (root / "seed").write_text("inside")
    number = done = refused = 0
    while number < 300 or not done or not refused:
        number += 1
        calls: list[Callable[[], Awaitable[object]]] = [
            partial(fs.write_text, f"{swapped}/secret", "inside"),
            partial(fs.write_text, f"{swapped}/new{number}/f", "inside"),
            partial(fs.read_text, f"{swapped}/secret"),
            partial(fs.copy, "seed", f"{swapped}/secret", replace=True),
            partial(fs.edit, f"{swapped}/secret", [Edit(old="inside", new="inside")]),
            partial(fs.rename, f"{swapped}/new{number}", f"{swapped}/moved", replace=True),
            partial(fs.remove, f"{swapped}/moved", recursive=True),
            partial(fs.make_dir, f"{swapped}/made"),
            partial(fs.upload, root.parent / "up", f"{swapped}/up"),
            partial(fs.remove, f"{swapped}/secret"),
        ]
        for call in calls:
            try:
                value = await call()
            except FsError:
                refused += 1
            else:
                done += 1
                assert value != "secret"
    assert contents(outside) == {"secret": "secret"}
    assert names_in(outside) == ["secret"]


async def test_copies_of_a_tree_in_motion_never_hold_the_outside(
    fs: FileSystem, root: Path, swapped: str, tmp_path: Path
) -> None:
    for number in range(100):
        try:
            await fs.download(".", tmp_path / "there" / str(number))
        except PathNotFound:
            (tmp_path / "there").mkdir()
        found = [info.path async for info in fs.scan(recursive=True)]
        assert f"{swapped}/secret" not in found
    copied = contents(tmp_path / "there")
    assert "secret" not in copied.values()


async def test_recursive_removal_never_leaves_through_a_swapped_folder(fs: FileSystem, root: Path) -> None:
    outside = root.parent / "outside"
    for _ in range(40):
        for name in ("a", "b", "c"):
            (root / "d" / name / "inner").mkdir(parents=True, exist_ok=True)
            (root / "d" / name / "secret").touch()
        stop = threading.Event()

        def swap(stop: threading.Event = stop) -> None:
            for name in ("a", "b", "c") * 50:
                if stop.is_set():
                    return
                try:
                    Path(root / "d" / name).rename(root / "d" / f"{name}-away")
                    Path(root / "d" / name).symlink_to(outside)
                except OSError:
                    continue

        thread = threading.Thread(target=swap)
        thread.start()
        try:
            await fs.remove("d", recursive=True, missing_ok=True)
        finally:
            stop.set()
            thread.join()
        await fs.remove("d", recursive=True, missing_ok=True)
        assert contents(outside) == {"secret": "secret"}
