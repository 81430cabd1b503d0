from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nexus.errors import GitError
from nexus.git import Worktrees
from nexus.git.objects import Blobs
from tests.git.oracle import REASON, Git


def read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when any content is taken from the object database."""

    def refuse(*_: object) -> bytes:
        raise AssertionError("an object was read")

    monkeypatch.setattr("nexus.git.objects.Blobs.read", refuse)


def snapshot(root: Path) -> dict[str, tuple[str, bytes]]:
    """Return every file of a tree: kind and permission, content."""
    found: dict[str, tuple[str, bytes]] = {}
    for at, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(at) / name
            key = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
            if name == ".git":
                continue
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link", os.fsencode(path.readlink()))
            elif stat.S_ISREG(status.st_mode):
                found[key] = (f"file {status.st_mode & 0o777:o}", path.read_bytes())
            else:
                found[key] = ("folder", b"")
        folders[:] = [folder for folder in folders if folder != ".git" and not (Path(at) / folder).is_symlink()]
    return found


async def compare_with_git(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    """Make the same worktree with git and with us, once by copying and once from objects, and compare every byte."""
    git.run("worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    theirs = snapshot(tmp_path / "theirs")
    copied = await worktrees.create("copied", reason=REASON)
    assert git.status(copied.path) == ""
    assert snapshot(copied.path) == theirs
    (git.root / ".git" / "index").rename(tmp_path / "index")
    built = await worktrees.create("built", reason=REASON)
    (tmp_path / "index").rename(git.root / ".git" / "index")
    assert snapshot(built.path) == theirs
    assert git.status(built.path) == ""
    git.run("update-index", "--really-refresh", cwd=built.path)
    assert git.run("diff", "--raw", "HEAD", cwd=built.path) == ""
    git.run("fsck", "--strict")


@pytest.fixture
def strange(git: Git) -> Git:
    """A repository with every kind of entry that git knows."""
    git.write("run.sh", "#!/bin/sh\n", mode=0o755)
    git.write("empty", "")
    git.write("deep/" * 40 + "file", "deep")
    git.write("large.bin", os.urandom(300_000))
    git.write("CON", "a device elsewhere")
    git.write("with space/and\nline", "odd")
    (git.root / os.fsdecode(b"bytes-\xff\xfe.txt")).write_text("no UTF-8")
    (git.root / "link").symlink_to("README.md")
    (git.root / "dangling").symlink_to("/nowhere/at/all")
    (git.root / "folder-link").symlink_to("src")
    git.commit("strange")
    git.settle()
    return git


async def test_it_is_what_git_would_have_made(strange: Git, tmp_path: Path) -> None:
    await compare_with_git(strange, await strange.worktrees(), tmp_path)


async def test_an_unchanged_main_checkout_is_copied(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_nothing(monkeypatch)
    made = await worktrees.create("one", reason=REASON)
    assert git.status(made.path) == ""


async def test_what_was_copied_keeps_its_time(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    for file in ("README.md", "src/app.py"):
        assert (made.path / file).stat().st_mtime_ns == (git.root / file).stat().st_mtime_ns


async def test_the_first_status_reads_no_file(git: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("one", reason=REASON)
    assert git.run("diff-files", cwd=made.path) == "", "without a refresh, from the index's own times"


async def test_uncommitted_work_stays_behind(git: Git, worktrees: Worktrees) -> None:
    git.write("README.md", "changed and staged\n")
    git.run("add", "README.md")
    git.write("src/app.py", "changed only\n")
    git.write("src/new.py", "untracked\n")
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "README.md").read_text() == "hello\n"
    assert (made.path / "src" / "app.py").read_text() == "print('hi')\n"
    assert not (made.path / "src" / "new.py").exists()
    assert git.status(made.path) == ""


async def test_a_file_of_the_same_size_and_time_does_not_pass(git: Git, worktrees: Worktrees) -> None:
    file = git.root / "README.md"
    before = file.stat()
    file.write_text("HELLO\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "README.md").read_text() == "hello\n"


async def test_a_file_as_young_as_the_index_does_not_pass(
    git: Git, worktrees: Worktrees, monkeypatch: pytest.MonkeyPatch
) -> None:
    git.write("README.md", "fresh\n")
    git.commit("fresh")
    entry = git.root / "README.md"
    index = git.root / ".git" / "index"
    stat_before = entry.stat()
    # As if the change had come within the tick in which git looked: all times agree, only the content does not.
    os.utime(index, ns=(stat_before.st_mtime_ns, stat_before.st_mtime_ns))
    read: list[str] = []
    original = Blobs.read

    def noted(self: Blobs, sha: bytes, shown: str) -> bytes:
        read.append(shown)
        return original(self, sha, shown)

    monkeypatch.setattr(Blobs, "read", noted)
    await worktrees.create("one", reason=REASON)
    assert "README.md" in read


@pytest.mark.parametrize("replacement", ["link", "pipe", "folder", "gone", "unreadable"])
async def test_what_took_a_files_place_is_not_copied(
    git: Git, worktrees: Worktrees, tmp_path: Path, replacement: str
) -> None:
    file = git.root / "README.md"
    file.unlink()
    if replacement == "link":
        (tmp_path / "secret").write_text("secret")
        file.symlink_to(tmp_path / "secret")
    elif replacement == "pipe":
        os.mkfifo(file)
    elif replacement == "folder":
        file.mkdir()
    elif replacement == "unreadable":
        file.write_text("secret")
        file.chmod(0)
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "README.md").read_text() == "hello\n"


async def test_a_link_in_place_of_a_folder_is_not_followed(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    (git.root / "src").rename(tmp_path / "src")
    (git.root / "src").symlink_to(tmp_path / "src")
    made = await worktrees.create("one", reason=REASON)
    assert not (made.path / "src").is_symlink()
    assert git.status(made.path) == ""


async def test_a_damaged_main_index_is_no_reason_to_fail(git: Git, worktrees: Worktrees) -> None:
    (git.root / ".git" / "index").write_bytes(b"DIRC rubbish")
    made = await worktrees.create("one", reason=REASON)
    assert git.status(made.path) == ""


@pytest.mark.parametrize("setting", ["2", "3", "4", "split", "sparse"])
async def test_every_kind_of_main_index_is_understood(git: Git, worktrees: Worktrees, setting: str) -> None:
    git.write("a/b/c.txt", "c")
    git.commit("more")
    if setting == "split":
        git.run("update-index", "--split-index")
    elif setting == "sparse":
        git.run("sparse-checkout", "set", "--cone", "--sparse-index", "src")
        git.run("config", "core.repositoryformatversion", "1")
        assert not (git.root / "a").exists()
    else:
        git.run("update-index", "--index-version", setting)
    made = await worktrees.create("one", reason=REASON)
    if setting != "sparse":
        assert git.status(made.path) == ""
    assert (made.path / "a" / "b" / "c.txt").read_text() == "c"
    git.run("fsck")


async def test_a_submodule_is_left_as_git_leaves_it(git: Git, tmp_path: Path) -> None:
    git.run("clone", "-q", str(git.root), str(tmp_path / "library"))
    git.run("submodule", "add", "-q", str(tmp_path / "library"), "deps/lib")
    git.commit("submodule")
    worktrees = await git.worktrees()
    made = await worktrees.create("one", reason=REASON)
    assert list((made.path / "deps" / "lib").iterdir()) == []
    assert git.status(made.path) == ""
    assert git.run("submodule", "status", cwd=made.path).startswith("-")
    assert (await worktrees.report("one")).clean


async def test_without_symlinks_a_link_is_a_file(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    (git.root / "link").symlink_to("README.md")
    git.commit("link")
    git.run("config", "core.symlinks", "false")
    await compare_with_git(git, worktrees, tmp_path)
    assert (worktrees.path("copied") / "link").read_text() == "README.md"
    assert not (worktrees.path("copied") / "link").is_symlink()


async def test_without_filemode_nothing_is_executable(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    git.write("run.sh", "#!/bin/sh\n", mode=0o755)
    git.commit("script")
    git.run("config", "core.filemode", "false")
    made = await worktrees.create("one", reason=REASON)
    assert not (made.path / "run.sh").stat().st_mode & 0o111
    assert git.status(made.path) == ""


async def test_a_missing_object_is_named_and_nothing_is_left(git: Git, worktrees: Worktrees) -> None:
    sha = git.run("rev-parse", "HEAD:README.md").strip()
    (git.root / ".git" / "objects" / sha[:2] / sha[2:]).unlink()
    (git.root / ".git" / "index").unlink()
    with pytest.raises(GitError, match=r"README\.md") as caught:
        await worktrees.create("one", reason=REASON)
    assert caught.value.details["object"] == sha
    assert await worktrees.list() == ()
    assert git.run("for-each-ref", "refs/heads/nexus") == ""


async def test_a_filter_program_is_not_run_and_that_is_said(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    git.write(".gitattributes", "*.bin filter=big\n")
    git.write("a.bin", "pointer\n")
    git.commit("filtered")
    git.run("config", "filter.big.smudge", f"touch {marker}; cat")
    git.run("config", "filter.big.clean", f"touch {marker}; cat")
    git.run("config", "filter.big.required", "true")
    (git.root / "a.bin").unlink()
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "a.bin").read_text() == "pointer\n"
    assert not marker.exists()
    assert len(made.notes) == 1
    assert "'big'" in made.notes[0]
    assert "a.bin" in made.notes[0]


async def test_what_a_filter_made_of_it_is_copied_as_it_is(git: Git, worktrees: Worktrees) -> None:
    git.run("config", "filter.big.smudge", "sed s/pointer/content/")
    git.run("config", "filter.big.clean", "sed s/content/pointer/")
    git.write(".gitattributes", "*.bin filter=big\n")
    git.write("a.bin", "content\n")
    git.commit("filtered")
    git.settle()
    made = await worktrees.create("one", reason=REASON)
    assert (made.path / "a.bin").read_text() == "content\n"
    assert made.notes == ()


async def test_hooks_are_not_run(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        git.write(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {marker}\n", mode=0o755)
    made = await worktrees.create("one", reason=REASON)
    await worktrees.remove("one", expected_tip=made.head, delete_branch=True)
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("copied", [True, False])
async def test_thousands_of_files_are_right(git: Git, worktrees: Worktrees, copied: bool, tmp_path: Path) -> None:
    for number in range(5200):
        git.write(f"pkg{number % 40}/mod{number % 7}/f{number}.txt", f"line {number}\n" * (number % 50))
    git.commit("many")
    git.run("gc", "-q")
    git.settle()
    if not copied:
        (git.root / ".git" / "index").rename(tmp_path / "index")
    made = await worktrees.create("one", reason=REASON)
    assert git.status(made.path) == ""
    git.run("update-index", "--really-refresh", cwd=made.path)
    assert git.run("diff", "--stat", "HEAD", cwd=made.path) == ""
    assert len(git.run("ls-files", cwd=made.path).splitlines()) == 5202
    assert (await worktrees.report("one")).clean
