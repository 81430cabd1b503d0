from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import GitError
from nexus.git.index_file import FILE, IndexEntry, format_index, parse_index, read_index
from tests.git.oracle import Git

WORD = st.integers(0, 0xFFFFFFFF)
TIME = st.builds(lambda seconds, ns: seconds * 10**9 + ns, WORD, st.integers(0, 999_999_999))
PATH = st.binary(min_size=1, max_size=30).map(lambda raw: raw.replace(b"\0", b"x"))
ENTRY = st.builds(
    IndexEntry, PATH, st.sampled_from([0o100644, 0o100755, 0o120000, 0o160000]), st.binary(min_size=20, max_size=20),
    st.integers(0, 3), TIME, TIME, WORD, WORD, WORD, WORD, st.booleans(), st.booleans(),
)  # fmt: skip


@given(st.lists(ENTRY, max_size=12, unique_by=lambda entry: (entry.path, entry.stage)))
def test_what_is_written_is_read_back(entries: list[IndexEntry]) -> None:
    ordered = sorted(entries, key=lambda entry: (entry.path, entry.stage))
    assert parse_index(format_index(entries), 7).entries == ordered


@given(st.binary(max_size=200))
def test_rubbish_is_refused_and_nothing_else_happens(content: bytes) -> None:
    import struct

    with pytest.raises((ValueError, struct.error)):
        parse_index(b"DIRC" + content, 0)


@given(st.lists(ENTRY, min_size=1, max_size=5, unique_by=lambda entry: (entry.path, entry.stage)), st.data())
def test_a_changed_byte_is_noticed(entries: list[IndexEntry], data: st.DataObject) -> None:
    import struct

    content = bytearray(format_index(entries))
    position = data.draw(st.integers(0, len(content) - 21))
    content[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises((ValueError, IndexError, struct.error)):
        parse_index(bytes(content), 0)


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_gits_own_index_is_read_in_every_version(git: Git, version: str) -> None:
    for number in range(300):
        git.write(f"dir{number % 7}/sub/{'n' * (number % 90)}{number}", str(number))
    git.commit("many")
    git.run("update-index", "--index-version", version)
    if version == "3":
        git.run("update-index", "--skip-worktree", "README.md")
    index = read_index(git.root / ".git" / "index")
    theirs = [line.split(None, 3) for line in git.run("ls-files", "-s").splitlines()]
    assert [(f"{e.mode:o}", e.sha.hex(), str(e.stage), e.path.decode()) for e in index.entries] == [
        tuple(line) for line in theirs
    ]
    if version != "3":  # setting the mark made git forget the tree
        assert index.tree is not None
        assert index.tree.hex() == git.run("rev-parse", "HEAD^{tree}").strip()
    for entry in index.entries:
        status = (git.root / entry.path.decode()).stat()
        assert (entry.mtime_ns, entry.ctime_ns, entry.size) == (status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def test_the_noted_tree_goes_away_with_a_change(git: Git) -> None:
    git.write("new", "x")
    git.run("add", "new")
    assert read_index(git.root / ".git" / "index").tree is None


def test_git_reads_what_we_write(git: Git) -> None:
    before = git.run("ls-files", "--debug", "-s")
    index = read_index(git.root / ".git" / "index")
    long = index.entries[0]._replace(path=b"d/" + b"x" * 4096)
    (git.root / ".git" / "index").write_bytes(format_index(index.entries))
    after = git.run("ls-files", "--debug", "-s")
    assert [line for line in after.splitlines() if "dev" not in line] == [
        line for line in before.splitlines() if "dev" not in line
    ]
    (git.root / ".git" / "index").write_bytes(format_index([*index.entries, long]))
    assert "x" * 4096 in git.run("ls-files")
    git.run("fsck")


def test_a_damaged_one_says_what_to_do(git: Git) -> None:
    file = git.root / ".git" / "index"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(GitError, match="damaged") as caught:
        read_index(git.root / ".git" / "index")
    assert caught.value.hint


def test_none_at_all_is_empty(tmp_path: Path) -> None:
    assert read_index(tmp_path / "index").entries == []
    assert FILE == 0o100644
