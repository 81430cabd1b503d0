from __future__ import annotations

import subprocess
from pathlib import Path

from nexus.testing import commit_files, make_repository


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_repository_is_one_that_git_understands(tmp_path: Path) -> None:
    commit = make_repository(tmp_path / "app", {"src/a.py": "print(1)\n", "data.bin": b"\xff\x00"}, branch="trunk")

    assert git(tmp_path / "app", "rev-parse", "HEAD") == commit
    assert git(tmp_path / "app", "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert git(tmp_path / "app", "status", "--porcelain") == ""
    assert git(tmp_path / "app", "ls-files").split() == ["data.bin", "src/a.py"]
    assert git(tmp_path / "app", "log", "-1", "--format=%s") == "First commit"
    assert git(tmp_path / "app", "fsck", "--strict") == ""


def test_the_same_files_give_the_same_commit(tmp_path: Path) -> None:
    assert make_repository(tmp_path / "a") == make_repository(tmp_path / "b")


def test_more_files_are_another_commit(tmp_path: Path) -> None:
    first = make_repository(tmp_path)
    second = commit_files(tmp_path, {"README.md": "changed\n", "new": "x"}, message="Second")

    assert git(tmp_path, "rev-parse", "HEAD~1") == first
    assert git(tmp_path, "rev-parse", "HEAD") == second
    assert git(tmp_path, "status", "--porcelain") == ""


def test_nobodys_configuration_matters(tmp_path: Path, monkeypatch: object) -> None:
    make_repository(tmp_path)

    assert git(tmp_path, "log", "-1", "--format=%an <%ae> %at %cn") == (
        "Nexus Example <example@nexus.invalid> 1700000000 Nexus Example"
    )
