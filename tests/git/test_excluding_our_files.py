from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus.errors import GitError
from nexus.git import Worktrees
from nexus.git.excluding import missing_lines
from nexus.git.layout import EXCLUDED
from tests.git.oracle import Git


@given(st.binary(max_size=200))
def test_adding_twice_adds_once(content: bytes) -> None:
    after = content + missing_lines(content)
    assert after.startswith(content)
    assert missing_lines(after) == b""
    assert {line.encode() for line in EXCLUDED} <= {line.strip() for line in after.splitlines()}


async def test_our_files_disappear_from_status(git: Git, worktrees: Worktrees) -> None:
    for path in ("state/x", "worktrees/y/z", "current", "cache/c", "trash/t"):
        git.write(f".nexus/{path}", "x")
    git.write(".nexus/config.yaml", "mine: true\n")
    assert "worktrees" in git.status(git.root)
    await worktrees.exclude()
    assert git.status(git.root) == "?? .nexus/config.yaml\n"


async def test_what_is_there_stays(git: Git, worktrees: Worktrees) -> None:
    file = git.write(".git/info/exclude", "# mine\n*.bak")
    file.chmod(0o600)
    await worktrees.exclude()
    first = file.read_bytes()
    assert first.startswith(b"# mine\n*.bak\n.nexus/state/\n")
    assert file.stat().st_mode & 0o777 == 0o600
    number = file.stat().st_ino
    await worktrees.exclude()
    assert file.read_bytes() == first
    assert file.stat().st_ino == number, "nothing was written"


async def test_a_missing_folder_is_made(git: Git, worktrees: Worktrees) -> None:
    for file in (git.root / ".git" / "info").iterdir():
        file.unlink()
    (git.root / ".git" / "info").rmdir()
    await worktrees.exclude()
    assert (git.root / ".git" / "info" / "exclude").read_text().splitlines() == list(EXCLUDED)


async def test_a_linked_file_stays_a_link(git: Git, worktrees: Worktrees, tmp_path: Path) -> None:
    file = git.root / ".git" / "info" / "exclude"
    file.unlink()
    (tmp_path / "dotfile").write_text("mine\n")
    file.symlink_to(tmp_path / "dotfile")
    await worktrees.exclude()
    assert file.is_symlink()
    assert (tmp_path / "dotfile").read_text().splitlines() == ["mine", *EXCLUDED]


async def test_what_cannot_be_written_is_said(git: Git, worktrees: Worktrees) -> None:
    file = git.root / ".git" / "info" / "exclude"
    file.unlink()
    file.mkdir()
    with pytest.raises(GitError, match="exclude"):
        await worktrees.exclude()


def test_many_processes_at_once_add_each_line_once(git: Git) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom nexus.git.excluding import exclude\n"
        "from nexus.git.locating import locate\nexclude(locate(Path(sys.argv[1])))\n"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [subprocess.Popen([sys.executable, "-c", program, str(git.root)], env=here) for _ in range(6)]
    assert [process.wait(50) for process in running] == [0] * 6
    lines = (git.root / ".git" / "info" / "exclude").read_text().splitlines()
    assert [line for line in lines if line in EXCLUDED] == list(EXCLUDED)
    assert list((git.root / ".git" / "info").glob(".*")) == []
