"""Trees in the trash are deleted by one at a time; what belongs to somebody else stays and is named."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from nexus.git import Stop, empty_trash, list_trash
from nexus.models.workspace import Repository

NOBODY = 65534


def trash_in(root: Path, *names: str) -> tuple[Repository, Path]:
    trash = root / ".nexus" / "trash"
    for name in names:
        (trash / name / "made" / "deep").mkdir(parents=True)
        (trash / name / "made" / "file").write_text("12345")
    return Repository(root=root, common_dir=root / ".git"), trash


def test_everything_goes_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("x")
    repository, trash = trash_in(tmp_path / "r", "a.1", "b.2")
    (trash / "a.1" / "link").symlink_to(tmp_path / "outside")
    (trash / "c.3").symlink_to(tmp_path / "outside")
    assert {item.path.name for item in list_trash(repository)} == {"a.1", "b.2", "c.3"}
    assert empty_trash(repository, Stop()) == []
    assert list_trash(repository) == ()
    assert (tmp_path / "outside" / "file").exists()


def test_no_trash_is_none(tmp_path: Path) -> None:
    repository = Repository(root=tmp_path, common_dir=tmp_path / ".git")
    assert empty_trash(repository, Stop()) == []
    assert list_trash(repository) == ()
    assert not (tmp_path / ".nexus").exists()


def test_asked_to_stop_it_leaves_the_rest_for_the_next(tmp_path: Path) -> None:
    repository, _ = trash_in(tmp_path, "a.1")
    stop = Stop()
    stop.set()
    assert empty_trash(repository, stop) == []
    assert len(list_trash(repository)) == 1
    assert empty_trash(repository, Stop()) == []
    assert list_trash(repository) == ()


def test_several_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    repository, _ = trash_in(tmp_path, *(f"a.{number}" for number in range(50)))
    told: list[list[str]] = []
    threads = [threading.Thread(target=lambda: told.append(empty_trash(repository, Stop()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [[], [], [], []]
    assert list_trash(repository) == ()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of root")
def test_files_of_root_stay_and_the_command_that_deletes_them_is_said() -> None:
    # Not below tmp_path, which nobody but root may enter.
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        repository, trash = trash_in(Path(base) / "r", "a.1")
        for path in (repository.root, trash.parent, trash, trash / "a.1"):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            left = empty_trash(repository, Stop())
            (item,) = list_trash(repository)
        finally:
            os.seteuid(0)
        assert any("made" in line and "Permission denied" in line for line in left)
        assert item.path == trash / "a.1"
        assert item.size >= 5
        assert item.command == f"sudo rm -rf -- {trash / 'a.1'}"
        assert empty_trash(repository, Stop()) == []
        assert list_trash(repository) == ()
