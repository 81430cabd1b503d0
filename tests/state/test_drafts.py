from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nexus.errors import StateError
from nexus.state.drafts import Draft, DraftFile
from nexus.state.files import open_folder, sweep


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / ".nexus"
    folder.mkdir()
    (folder / "current").write_text("old\n")
    return folder


def draft_in(root: Path) -> Draft:
    return Draft([DraftFile(root, ("state", "records"), "a", b"record"), DraftFile(root, (), "current", b"new\n")])


def content(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


async def test_nothing_is_in_its_place_before_all_of_it_is(root: Path) -> None:
    draft = draft_in(root)
    await draft.write()
    before = draft.placed
    assert (root / "current").read_text() == "old\n"
    assert not (root / "state" / "records" / "a").exists()
    draft.place()
    assert (before, draft.placed) == (False, True)
    await draft.drop()
    assert content(root) == {"current": "new\n", "state/records/a": "record"}
    assert stat.S_IMODE((root / "current").stat().st_mode) == 0o600


async def test_what_was_given_up_leaves_nothing(root: Path) -> None:
    draft = draft_in(root)
    await draft.write()
    await draft.drop()
    await draft.drop()
    assert content(root) == {"current": "old\n"}


async def test_a_sweep_leaves_what_somebody_still_writes(root: Path) -> None:
    draft = draft_in(root)
    await draft.write()
    with open_folder(root) as folder:
        sweep(folder, [path.name for path in root.iterdir()])
    draft.place()
    await draft.drop()
    assert (root / "current").read_text() == "new\n"


async def test_descriptors_are_given_back(root: Path) -> None:
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    for end in ("place", "drop", "fail"):
        draft = draft_in(root)
        await draft.write()
        if end == "fail":
            Path(next(root.glob(".current.*"))).unlink()
            with pytest.raises(StateError, match="cannot write current"):
                draft.place()
        elif end == "place":
            draft.place()
        await draft.drop()
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


async def test_a_link_in_the_way_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "state").symlink_to(tmp_path / "elsewhere")
    draft = draft_in(root)
    with pytest.raises(StateError, match="symbolic link"):
        await draft.write()
    await draft.drop()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (root / "current").read_text() == "old\n"
