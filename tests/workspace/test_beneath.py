from __future__ import annotations

import ctypes
import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import InvalidArgument, PathDenied, PathEscape, WorkspaceGone
from nexus.workspace import kernel_paths
from nexus.workspace.beneath import MAX_PATH, Tree, open_tree
from nexus.workspace.folders import open_below
from nexus.workspace.kernel_paths import rename_without_replacing
from nexus.workspace.tree_transfer import leads_out


@pytest.fixture(params=["kernel", "by hand"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree, looked at with the kernel's help and without."""
    if request.param == "by hand":

        def missing(*_: object) -> int:
            raise OSError(errno.ENOSYS, "no such call")

        monkeypatch.setattr(kernel_paths, "openat2", missing)
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("outside")
    return tree


def found(root: Path, path: str, *, follow: bool = True, aliases: tuple[str, ...] = ("/workspace",)) -> os.stat_result:
    with open_tree(root, aliases) as tree, tree.found(path, follow=follow) as fd:
        return os.fstat(fd)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = len(names_in(Path("/proc/self/fd")))
    yield
    assert len(names_in(Path("/proc/self/fd"))) == before


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "path", ["a/file", "./a//file", "a/b/../file", "a/../a/file", "/workspace/a/file", "//workspace/a/file"[1:]]
)
def test_inside(root: Path, path: str) -> None:
    with no_descriptor_left():
        assert found(root, path).st_ino == (root / "a/file").stat().st_ino


def test_own_absolute_path_is_inside(root: Path) -> None:
    assert found(root, str(root / "a/file")).st_ino == (root / "a/file").stat().st_ino


@pytest.mark.parametrize("path", [".", "/workspace", "/workspace/", "a/..", "a/b/../.."])
def test_root_itself(root: Path, path: str) -> None:
    assert found(root, path).st_ino == root.stat().st_ino


@pytest.mark.parametrize(
    "path",
    ["..", "../outside/file", "a/../../outside/file", "/etc/passwd", "/", "/workspaces/x", "a/b/../../../tree/a"],
)
def test_escape(root: Path, path: str) -> None:
    with no_descriptor_left(), pytest.raises(PathEscape) as caught:
        found(root, path)
    assert caught.value.path == path


@pytest.mark.parametrize("target", ["../../outside", "/etc", "{tmp}/outside", "../a/../../outside", "/proc/self/root"])
@pytest.mark.parametrize("path", ["a/link", "a/link/file"])
def test_link_that_leads_out(root: Path, target: str, path: str) -> None:
    (root / "a/link").symlink_to(target.format(tmp=root.parent))
    with no_descriptor_left(), pytest.raises(PathEscape):
        found(root, path)
    assert stat.S_ISLNK(found(root, "a/link", follow=False).st_mode)


def test_chain_of_links_that_leads_out(root: Path) -> None:
    (root / "one").symlink_to("a/two")
    (root / "a/two").symlink_to("b/three")
    (root / "a/b/three").symlink_to("../../../outside/file")
    with pytest.raises(PathEscape):
        found(root, "one")


@pytest.mark.parametrize("target", ["a/file", "./a/b/../file", "/workspace/a/file", "{root}/a/file"])
def test_link_that_stays_inside(root: Path, target: str) -> None:
    (root / "link").symlink_to(target.format(root=root))
    with no_descriptor_left():
        assert found(root, "link").st_ino == (root / "a/file").stat().st_ino


def test_dots_after_a_link_count_from_where_it_leads(root: Path) -> None:
    (root / "deep").symlink_to("a/b")
    assert found(root, "deep/../file").st_ino == (root / "a/file").stat().st_ino


def test_links_in_a_circle(root: Path) -> None:
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    with no_descriptor_left(), pytest.raises(OSError, match="symbolic links"):
        found(root, "x")


def test_missing_and_not_a_folder(root: Path) -> None:
    with no_descriptor_left():
        with pytest.raises(FileNotFoundError):
            found(root, "a/nothing/here")
        with pytest.raises(NotADirectoryError):
            found(root, "a/file/x")


@pytest.mark.parametrize("path", ["", "a\0b", "x" * (MAX_PATH + 1), "\udc00bad\ud800"])
def test_what_is_no_path(root: Path, path: str) -> None:
    with pytest.raises(InvalidArgument):
        found(root, path)


def test_path_longer_than_the_kernel_takes(root: Path) -> None:
    names = ["d" * 200] * 60
    fd = os.open(root, os.O_PATH)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        deeper = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = deeper
    inode = os.fstat(fd).st_ino
    os.close(fd)
    path = "/".join(names)
    assert len(path) > 4096
    with no_descriptor_left():
        assert found(root, path).st_ino == inode


def test_name_longer_than_a_file_system_takes(root: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        found(root, "n" * 300)


def test_fifo_is_found_without_blocking(root: Path) -> None:
    os.mkfifo(root / "fifo")
    assert stat.S_ISFIFO(found(root, "fifo").st_mode)


def test_place_names_what_is_not_there_yet(root: Path) -> None:
    with open_tree(root) as tree, tree.place("a/b/new") as place:
        assert (place.name, place.where) == (b"new", (b"a", b"b"))
        assert os.fstat(place.fd).st_ino == (root / "a/b").stat().st_ino


def test_place_follows_a_link_to_what_is_not_there_yet(root: Path) -> None:
    (root / "link").symlink_to("a/b/new")
    with open_tree(root) as tree, tree.place("link") as place:
        assert (place.name, place.where) == (b"new", (b"a", b"b"))
    with open_tree(root) as tree, tree.place("link", follow=False) as place:
        assert (place.name, place.where) == (b"link", ())


def test_place_creates_folders_on_the_way(root: Path) -> None:
    with open_tree(root) as tree, tree.place("x/y/z", create=True) as place:
        assert place.where == (b"x", b"y")
    assert (root / "x/y").is_dir()
    assert not (root / "x/y/z").exists()


def test_place_never_creates_outside(root: Path) -> None:
    (root / "out").symlink_to(root.parent / "outside")

    def create(tree: Tree) -> None:
        with tree.place("out/new/file", create=True):
            pytest.fail("it must not be found")

    with open_tree(root) as tree, pytest.raises(PathEscape):
        create(tree)
    assert names_in(root.parent / "outside") == ["file"]


@pytest.mark.parametrize(
    "path", [".git", "a/../.git", ".git/config", "link", "link/hooks/x", "deep/../../.git", ".GIT"]
)
def test_git_is_not_written(root: Path, path: str) -> None:
    (root / ".git").mkdir()
    (root / ".git/hooks").mkdir()
    (root / "link").symlink_to("a/../.git")
    (root / "deep").symlink_to("a/b")

    def write(tree: Tree) -> None:
        with tree.place(path, writing=True):
            pytest.fail("it must not be found")

    with open_tree(root) as tree, no_descriptor_left(), pytest.raises(PathDenied):
        write(tree)


def test_git_below_is_like_any_other(root: Path) -> None:
    with open_tree(root) as tree, tree.place("a/.git", writing=True) as place:
        assert place.name == b".git"


def test_missing_root(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("nothing", "file", "link"):
        with pytest.raises(WorkspaceGone), open_tree(tmp_path / name):
            pytest.fail("it must not open")


def test_open_below_follows_nothing(root: Path) -> None:
    (root / "a/link").symlink_to("b")
    (root / "a/b/c").mkdir()
    (root / "a/deep").symlink_to(root)
    with open_tree(root) as tree, no_descriptor_left():
        os.close(open_below(tree.fd, (b"a", b"b", b"c")))
        for parts in ((b"a", b"link"), (b"a", b"link", b"c"), (b"a", b"deep", b"a")):
            with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
                open_below(tree.fd, parts)


def test_folder_swapped_for_a_link_never_leads_out(root: Path) -> None:
    """Another thread turns ``a/swap`` from a folder into a link to the outside and back, in one step each, all the time."""
    names = [os.fsencode(root / "a" / name) for name in ("swap", "other")]
    (root / "a/swap").mkdir()
    (root / "a/swap/file").write_text("inside")
    (root / "a/other").symlink_to(root.parent / "outside")
    outside = (root.parent / "outside/file").stat().st_ino
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    failed: list[int] = []

    def swap() -> None:
        while not stop.is_set() and not failed:
            if libc.renameat2(-100, names[0], -100, names[1], 2) != 0:  # RENAME_EXCHANGE
                failed.append(ctypes.get_errno())

    thread = threading.Thread(target=swap)
    thread.start()
    calls = inside = escapes = 0
    try:
        # At least so often, and until both sides of the race were seen: threads take turns as they like.
        while not failed and (calls < 3000 or not inside or not escapes):
            calls += 1
            try:
                assert found(root, "a/swap/file").st_ino != outside
                inside += 1
            except PathEscape:
                escapes += 1
    finally:
        stop.set()
        thread.join()
    assert not failed


# Renaming without replacing ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["kernel", "two steps"])
def rename(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param == "two steps":
        monkeypatch.setattr(kernel_paths, "_RENAMEAT2", {})
    return tmp_path


def move(root: Path, old: str, new: str) -> None:
    fd = os.open(root, os.O_PATH)
    try:
        rename_without_replacing(fd, old.encode(), fd, new.encode())
    finally:
        os.close(fd)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_rename_to_a_free_name(rename: Path, kind: str) -> None:
    make(rename / "old", kind)
    inode = (rename / "old").lstat().st_ino
    move(rename, "old", "new")
    assert (rename / "new").lstat().st_ino == inode
    assert names_in(rename) == ["new"]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("taken", ["file", "folder", "link"])
def test_rename_never_replaces(rename: Path, kind: str, taken: str) -> None:
    make(rename / "old", kind)
    make(rename / "new", taken)
    inodes = [(rename / name).lstat().st_ino for name in ("old", "new")]
    with pytest.raises(FileExistsError):
        move(rename, "old", "new")
    assert [(rename / name).lstat().st_ino for name in ("old", "new")] == inodes


def test_rename_of_nothing(rename: Path) -> None:
    with pytest.raises(FileNotFoundError):
        move(rename, "old", "new")
    assert names_in(rename) == []


def make(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text("x")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("nowhere")


# Pure parts --------------------------------------------------------------------------------------------------------------


@given(raw=st.text(alphabet="ab./\udcff", min_size=1, max_size=20))
def test_components_are_plain_names_or_dots(raw: str) -> None:
    tree = Tree(-1, (b"/ab",))
    try:
        parts = tree.parts(raw)
    except PathEscape:
        assert raw.startswith("/")
        return
    assert all(part not in {b"", b"."} and b"/" not in part for part in parts)


@pytest.mark.parametrize(
    ("path", "text", "out"),
    [
        ("a/l", "b", False),
        ("a/l", "../b", False),
        ("a/l", "..", False),
        ("a/l", "../..", True),
        ("l", "..", True),
        ("l", "a/../../b", True),
        ("l", "/a", True),
    ],
)
def test_links_that_lead_out(path: str, text: str, out: bool) -> None:
    assert leads_out(path.encode(), text.encode()) is out
