from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nexus.git import Worktrees
from nexus.git.placement import lay_out_apart
from tests.git.oracle import Git


def flags(folder: Path) -> str:
    return subprocess.run(["lsattr", "-d", folder], capture_output=True, text=True, check=True).stdout.split()[0]


async def test_trees_are_laid_out_apart_where_the_file_system_can(git: Git, worktrees: Worktrees) -> None:
    (git.root.parent / "probe").mkdir()
    if not lay_out_apart(git.root.parent / "probe") or shutil.which("lsattr") is None:
        pytest.skip("this file system lays folders out on its own, or nobody can tell")
    made = await worktrees.create("one", reason="nexus:test")
    assert "T" in flags(made.path.parent)
    assert "T" not in flags(made.path), "what is in a tree belongs together"
    before = made.path.parent.stat().st_ctime_ns
    assert lay_out_apart(made.path.parent)
    assert made.path.parent.stat().st_ctime_ns == before, "it is told once"


def test_what_cannot_be_told_is_left_alone(tmp_path: Path) -> None:
    assert not lay_out_apart(Path("/proc/self"))
    assert not lay_out_apart(tmp_path / "missing")
    (tmp_path / "link").symlink_to(tmp_path)
    assert not lay_out_apart(tmp_path / "link")
