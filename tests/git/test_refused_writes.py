"""What the system refuses in the middle of git's work is one error of ours, and the lock that was being written goes with it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from dulwich.file import FileLocked, GitFile

from nexus.errors import GitError
from nexus.git.trouble import refusals_told


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOSPC, "disk space"), (errno.EACCES, "belongs to you")])
def test_a_refusal_is_told_and_leaves_no_lock(tmp_path: Path, number: int, hint: str) -> None:
    def write() -> None:
        file = GitFile(tmp_path / "object", "wb")
        file.write(b"half")
        raise OSError(number, "refused", str(tmp_path / "object"))

    with pytest.raises(GitError, match="refused") as told, refusals_told():
        write()
    assert hint in str(told.value.hint)
    assert told.value.details["errno"] == number
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_that_was_told_further_in_leaves_no_lock_either(tmp_path: Path) -> None:
    def write() -> None:
        file = GitFile(tmp_path / "object", "wb")
        file.write(b"half")
        raise OSError(errno.ENOSPC, "no space")

    def tell() -> None:
        try:
            write()
        except OSError as error:
            raise GitError("in words") from error

    with pytest.raises(GitError, match="in words"), refusals_told():
        tell()
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_lock_stays(tmp_path: Path) -> None:
    lock = tmp_path / "object.lock"
    lock.write_bytes(b"theirs")
    with pytest.raises(FileLocked), refusals_told():
        GitFile(tmp_path / "object", "wb")

    def write() -> None:
        try:
            GitFile(tmp_path / "object", "wb")
        except FileLocked as locked:
            raise OSError(errno.ENOSPC, "no space") from locked

    with pytest.raises(GitError), refusals_told():
        write()
    assert lock.read_bytes() == b"theirs"
