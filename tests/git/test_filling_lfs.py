"""Git LFS files filled from what the repository has, judged by their digest; what is missing is said; work in them is seen."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import GitError
from nexus.git import Fill, Worktrees
from nexus.git.lfs_pointer import Pointer, parse_pointer, points_at
from tests.git.oracle import REASON, Git

FILL = Fill(lfs=True)
LARGE = b"\0large content\n" * 50_000


def pointer(content: bytes) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest(content)}\nsize {len(content)}\n"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def store(git: Git, content: bytes, oid: str | None = None) -> Path:
    oid = oid or digest(content)
    return git.write(f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}", content)


@pytest.fixture
def large(git: Git) -> Git:
    """Give a repository with LFS files: one that is there, two that are not, one whose content was replaced."""
    git.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    git.write("data/there.bin", pointer(LARGE), mode=0o755)
    git.write("missing.bin", pointer(b"nobody has it"))
    git.write("forged.bin", pointer(b"good"))
    git.write("plain.txt", pointer(LARGE))
    git.commit("large files")
    store(git, LARGE)
    store(git, b"evil", digest(b"good"))
    return git


@pytest.mark.parametrize("isolation", ["worktree", "clone"])
async def test_content_takes_the_place_of_pointers(large: Git, worktrees: Worktrees, isolation: str) -> None:
    made = await worktrees.create("a", reason=REASON, fill=FILL, isolation=isolation)  # type: ignore[arg-type]
    file = made.path / "data/there.bin"
    assert file.read_bytes() == LARGE
    assert os.access(file, os.X_OK)
    assert (made.path / "plain.txt").read_text() == pointer(LARGE)
    assert (made.path / "forged.bin").read_text() == pointer(b"good")
    (note,) = made.notes
    assert note.startswith(
        "still pointers, because their content is not in the repository: forged.bin, missing.bin; 'git lfs fetch'"
    )
    assert large.run("status", "--porcelain", cwd=made.path) == ""
    report = await worktrees.report("a")
    assert report.clean, report
    # Touched is not changed; changed is, and no program has to run to know it.
    os.utime(file)
    assert (await worktrees.report("a")).clean
    file.write_bytes(LARGE[:-1] + b"!")
    report = await worktrees.report("a")
    assert (report.modified, report.unknown) == (("data/there.bin",), None)
    ref = await worktrees.rescue("a")
    assert large.run("cat-file", "-s", f"{ref}:data/there.bin").strip() == str(len(LARGE))


async def test_not_asked_for_is_left_as_it_is(large: Git, worktrees: Worktrees) -> None:
    os.utime(
        large.root / "data/there.bin", (1, 1)
    )  # what the index proves is copied as it is, and nothing is to be said of it
    made = await worktrees.create("a", reason=REASON)
    assert (made.path / "data/there.bin").read_text() == pointer(LARGE)
    assert any("left as stored, because the filter 'lfs' is not run" in note for note in made.notes)


async def test_links_and_pipes_in_the_store_are_left_alone(large: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    path = store(large, LARGE)
    path.unlink()
    os.mkfifo(path)
    (await worktrees.create("a", reason=REASON, fill=FILL)).path.joinpath("data/there.bin").read_text()
    path.unlink()
    (tmp_path / "outside").write_bytes(LARGE)
    path.symlink_to(tmp_path / "outside")
    made = await worktrees.create("b", reason=REASON, fill=FILL)
    assert (made.path / "data/there.bin").read_text() == pointer(LARGE)
    assert "data/there.bin" in made.notes[0]


async def test_what_only_a_clone_keeps_is_not_lost(large: Git, worktrees: Worktrees) -> None:
    made = await worktrees.create("a", reason=REASON, fill=FILL, isolation="clone")
    (made.path / "new.bin").write_text(pointer(b"only in the clone"))
    large.commit("a large file", cwd=made.path)
    clone = Git(made.path, large.env)
    store(clone, b"only in the clone")
    report = await worktrees.report("a")
    assert report.unknown is not None
    assert "large files of its own" in report.unknown
    with pytest.raises(GitError, match="large files of its own"):
        await worktrees.rescue("a")


@given(st.binary(max_size=300))
def test_a_pointer_is_read_exactly_or_not_at_all(content: bytes) -> None:
    assert parse_pointer(pointer(content).encode()) == Pointer(digest(content), len(content))
    assert points_at(pointer(content).encode(), content) is True
    assert points_at(pointer(content).encode(), content + b"x") is False
    assert parse_pointer(content) is None
    assert points_at(content, content) is None
