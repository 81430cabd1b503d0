"""What settings are made from, in one word: it differs wherever they might."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import JsonValue

from nexus.config import usual_files
from nexus.daemon.discovery import Announcement
from nexus.serving import finding
from nexus.serving.finding import matching_daemon
from nexus.serving.inputs import digest
from tests.serving.conftest import Daemons


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a file of its own, on a node with two places for another."""
    monkeypatch.setattr(usual_files, "NODE_FILES", (tmp_path / "etc" / "first.yaml", tmp_path / "etc" / "second.yaml"))
    for folder in ("etc", "home/.nexus", "app/.nexus"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "app/.nexus/config.yaml").write_text("version: 1\n")
    return tmp_path / "app"


def env(root: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(root.parent / "home"), "PATH": "/bin", **more}


def test_the_same_is_the_same(root: Path) -> None:
    one = digest(root, {"backend": "local"}, env(root, EDITOR="vi"), ["TOKEN"])
    assert one is not None
    assert digest(root, {"backend": "local"}, env(root, EDITOR="emacs"), ["TOKEN"]) == one
    assert digest(root, {}, env(root), []) == digest(root, None, env(root), [])


@pytest.mark.parametrize(
    "file", ["etc/first.yaml", "etc/second.yaml", "home/.nexus/config.yaml", "app/.nexus/config.yaml"]
)
def test_every_file_counts(root: Path, file: str) -> None:
    path, seen = root.parent / file, set()
    for text in ("a: 1\n", "a: 2\n"):
        path.write_text(text)
        seen.add(digest(root, None, env(root), []))
    (root.parent / "elsewhere.yaml").write_text("a: 2\n")
    path.unlink()
    path.symlink_to(root.parent / "elsewhere.yaml")
    seen.add(digest(root, None, env(root), []))
    path.unlink()
    if root not in path.parents:
        seen.add(digest(root, None, env(root), []))
    assert len(seen - {None}) == len(seen) == (3 if root in path.parents else 4)


@pytest.mark.parametrize(
    ("flags", "variables"),
    [
        ({"backend": "local"}, {}),
        ({}, {"NEXUS_BACKEND": "local"}),
        ({}, {"XDG_DATA_HOME": "/x"}),
        ({}, {"HOME": "/x"}),
        ({}, {"TOKEN": "t"}),
    ],
)
def test_flags_and_variables_count(root: Path, flags: dict[str, JsonValue], variables: dict[str, str]) -> None:
    changed = digest(root, flags, {**env(root), **variables}, ["TOKEN"])
    assert changed not in {None, digest(root, None, env(root), ["TOKEN"])}


def test_a_file_for_other_tools_has_no_word(root: Path) -> None:
    (root / "compose.yaml").write_text("services: {}\n")
    assert digest(root, None, env(root), []) is not None, "the project's own file ranks before it"
    (root / ".nexus/config.yaml").unlink()
    assert digest(root, None, env(root), []) is None
    (root / "compose.yaml").unlink()
    assert digest(root, None, env(root), []) is not None


def test_what_is_no_file_has_no_word_and_is_not_waited_for(root: Path) -> None:
    (root / ".nexus/config.yaml").unlink()
    os.mkfifo(root / ".nexus/config.yaml")
    assert digest(root, None, env(root), []) is None


async def test_a_daemon_with_the_same_inputs_is_found_without_reading_them(
    daemons: Daemons, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def load(*_: object) -> None:
        raise AssertionError("the configuration is read")

    file = home / ".nexus" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    known = f"workspaces: {{app: {{path: {daemons.root}}}}}\n"
    file.write_text(f"{known}project_overrides: {{app: {{env: {{TOKEN: 'env:TOKEN'}}}}}}\n")
    monkeypatch.setenv("TOKEN", "one")
    async with daemons.here() as (found, serving):
        with monkeypatch.context() as changed:
            changed.setattr(finding, "load", load)
            assert await _match(daemons) == found
            changed.setenv("TOKEN", "two")
            with pytest.raises(AssertionError, match="is read"):
                await _match(daemons)
        file.write_text(f"{file.read_text()}# what is said is the same\n")
        assert await _match(daemons) == found
        file.write_text(f"{known}project_overrides: {{app: {{env: {{TOKEN: 'env:OTHER'}}}}}}\n")
        assert await _match(daemons) is None
        assert "inputs" not in found.info.model_dump()
        serving.reload()
        await daemons.logged("the settings were read again")
        again = daemons.announced()
        assert again is not None
        assert again.inputs != found.inputs
        with monkeypatch.context() as changed:
            changed.setattr(finding, "load", load)
            assert await _match(daemons) == again


async def _match(daemons: Daemons) -> Announcement | None:
    return await matching_daemon(daemons.root, flags={"backend": "local"}, env=daemons.env)
