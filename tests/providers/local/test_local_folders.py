from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nexus.errors import InvalidArgument, ProviderForbidden
from nexus.models.ids import WorkspaceId
from nexus.models.instances import InstanceSpec
from nexus.providers.local import LocalProvider
from nexus.providers.local.folders import Place, checked, resolve


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    path = Place(tmp_path, ("a", "b")).secure()
    assert path == tmp_path / "a" / "b"
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path, path.parent)] == [0o700, 0o700]
    assert Place(tmp_path, ("a", "b")).secure() == path


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert Place(tmp_path / "no", ("a",)).check() is None
    assert Place(tmp_path, ("a",)).check() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("depth", [0, 1])
def test_a_symbolic_link_on_the_way_is_refused(tmp_path: Path, depth: int) -> None:
    target = tmp_path / "target"
    (target / "b").mkdir(parents=True)
    if depth == 0:
        (tmp_path / "a").symlink_to(target)
    else:
        (tmp_path / "a").mkdir(mode=0o700)
        (tmp_path / "a" / "b").symlink_to(target)
    for look in (Place(tmp_path, ("a", "b")).secure, Place(tmp_path, ("a", "b")).check):
        with pytest.raises(ProviderForbidden, match="symbolic link") as caught:
            look()
        assert caught.value.hint


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ProviderForbidden):
        Place(tmp_path, ("a",)).secure()


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(mode)
    with pytest.raises(ProviderForbidden, match="other users may write"):
        Place(tmp_path, ("a",)).secure()


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir(mode=0o700)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(ProviderForbidden, match=f"belongs to user {owner}"):
        Place(tmp_path, ("a",)).secure()


async def test_nothing_starts_over_a_planted_folder(tmp_path: Path, spec: InstanceSpec) -> None:
    planted = tmp_path / "planted"
    planted.mkdir(mode=0o777)
    (tmp_path / "runtime").symlink_to(planted)
    options = {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "runtime")}
    async with LocalProvider(options) as provider:
        info = await provider.probe()
        assert not info.available
        assert "symbolic link" in info.detail
        instance = await provider.create(spec)
        with pytest.raises(ProviderForbidden):
            await instance.start()
        assert list(planted.iterdir()) == []
        await provider.destroy(instance.ref)


async def test_a_planted_state_folder_is_neither_read_nor_written(tmp_path: Path, spec: InstanceSpec) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (tmp_path / "state").symlink_to(planted)
    async with LocalProvider(
        {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "runtime")}
    ) as provider:
        with pytest.raises(ProviderForbidden):
            await provider.create(spec)
        with pytest.raises(ProviderForbidden):
            await provider.list()
    assert list(planted.iterdir()) == []


def test_defaults_follow_the_environment(tmp_path: Path) -> None:
    own = tmp_path / "run"
    own.mkdir(mode=0o700)
    folders = resolve({}, {"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": str(own), "HOME": "/h"})
    assert folders.state.path == Path("/s/nexus/local")
    assert folders.runtime.path == own / "nexus" / "local"
    folders = resolve({}, {"HOME": "/h", "XDG_RUNTIME_DIR": "relative"})
    assert folders.state.path == Path("/h/.local/state/nexus/local")
    assert folders.runtime.path == Path(f"/tmp/nexus-{os.getuid()}/local")
    assert folders.runtime.below == (f"nexus-{os.getuid()}", "local"), "each folder below /tmp has to be checked"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    with pytest.raises(InvalidArgument, match="no home folder") as caught:
        resolve({}, {})
    assert "state_dir" in str(caught.value.hint)


def test_a_runtime_folder_that_others_may_write_to_is_passed_over(tmp_path: Path) -> None:
    loose = tmp_path / "run"
    loose.mkdir()
    loose.chmod(0o777)
    assert resolve({}, {"HOME": "/h", "XDG_RUNTIME_DIR": str(loose)}).runtime.anchor == Path("/tmp")


@pytest.mark.parametrize("wrong", ["relative", "", 5, ["/a"], "/a/../b", "/"])
def test_a_folder_option_has_to_be_an_absolute_path(wrong: str | int | list[str]) -> None:
    with pytest.raises(InvalidArgument, match="state_dir"):
        resolve({"state_dir": wrong}, {"HOME": "/h"})  # type: ignore[dict-item]


@pytest.mark.parametrize("wrong", ["", ".", "..", "../x", "a/b", "/etc", ".new-x", "a\0b", "a\nb", "x" * 101, "ä"])
def test_an_id_that_could_leave_the_folder_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument):
        checked(wrong)


def test_sockets_have_short_names() -> None:
    folders = resolve({"runtime_dir": "/r"}, {"HOME": "/h"})
    assert len(folders.socket(WorkspaceId("x" * 100)).name) <= 24
