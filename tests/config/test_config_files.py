from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import JsonValue

from nexus.config import ConfigStack, usual_files
from nexus.config.assignments import tree_of
from nexus.config.builtin import PLACE, built_in
from nexus.config.layers import Branch, child, plain
from nexus.config.problems import Problems
from nexus.config.schema import Effective
from nexus.config.validation import normalise
from nexus.errors import ConfigError
from tests.config.conftest import Site


def test_no_file_at_all_gives_the_built_in_defaults(site: Site) -> None:
    settings = site.load().settings
    assert settings.backend == "docker"
    assert settings.image == "nexus-workspace:latest"
    assert settings.idle_timeout is not None
    assert settings.idle_timeout.total_seconds() == 1800
    assert settings.workspace.name == "app"
    assert settings.project_root == site.root


def test_the_built_in_defaults_are_spelled_as_parsing_would_leave_them() -> None:
    root, problems = built_in().root, Problems()
    assert isinstance(root, Branch)
    parsed = normalise(Effective, root, problems)
    assert parsed is not None
    assert json.dumps(plain(parsed)) == json.dumps(plain(root))
    resources = child(root, "defaults", "resources")
    by_name = normalise(Effective, _tree({"defaults": {"resources": "medium"}}), problems)
    assert by_name is not None
    assert resources == child(by_name, "defaults", "resources")
    assert not problems


def _tree(value: JsonValue) -> Branch:
    tree = tree_of(value, PLACE)
    assert isinstance(tree, Branch)
    return tree


@pytest.mark.parametrize("level", ["node", "user", "project"])
@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf# x\r\n"])
def test_a_file_may_be_empty(site: Site, level: str, text: str | bytes) -> None:
    getattr(site, level)(text)
    assert site.load().settings.backend == "docker"


def test_a_byte_order_mark_does_not_shift_places(site: Site) -> None:
    site.user(b"\xef\xbb\xbfdefaults: 3\n")
    assert site.problems() == ("user:1:11: 'defaults' must be a map of 'key: value' lines, not 3",)


@pytest.mark.parametrize("level", ["node", "user", "project"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"defaults:\n  image: \xff\n", "{}:2:10: the file is not UTF-8: byte 0xff cannot be here"),
        ("defaults:\n  image: é".encode("latin-1"), "{}:2:10: the file is not UTF-8: byte 0xe9 cannot be here"),
        ("a: 1".encode("utf-16"), "{}:1:1: the file is UTF-16, not UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", "{}:1:1: the character U+007F cannot be used here"),
        (b"x" * (1024 * 1024 + 1), "{}:1:1: the file is larger than 1024 KiB"),
        (b"[a, b]", "{}:1:1: the file must hold 'key: value' lines at its top, not a list"),
        (b"defaults:\n\timage: x\n", "{}:2:1: a tab cannot indent YAML; use spaces"),
    ],
)
def test_a_file_that_cannot_be_understood(site: Site, level: str, content: bytes, problem: str) -> None:
    getattr(site, level)(content)
    assert site.problems() == (problem.format(level),)


@pytest.mark.parametrize("level", ["node", "user", "project"])
def test_what_is_no_file_is_never_opened(site: Site, level: str) -> None:
    path: Path = getattr(site, level)("")
    path.unlink()
    path.mkdir()
    assert site.problems() == (f"{level}:1:1: this is a folder; a file is needed here",)
    path.rmdir()
    os.mkfifo(path)
    assert site.problems() == (f"{level}:1:1: this is not an ordinary file (a pipe, a socket or a device)",)
    path.unlink()
    path.symlink_to(path.parent / "gone.yaml")
    assert "this symbolic link leads nowhere: its target" in site.problems()[0]
    path.unlink()
    path.symlink_to(path)
    assert f"{level}:1:1: the file cannot be read: too many levels of symbolic links" in site.problems()[0]


def test_a_socket_is_not_read(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.user("").unlink()
    monkeypatch.chdir(site.user_path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("config.yaml")
        assert "not an ordinary file" in site.problems()[0]


def test_a_file_in_place_of_the_folder(site: Site) -> None:
    (site.home / ".nexus").write_text("")
    assert site.problems() == ("user:1:1: the file cannot be read: something above it is a file, not a folder",)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_file_that_may_not_be_read_as_another_user(site: Site) -> None:
    path = site.user("defaults: {}\n")
    path.chmod(0)
    for folder in (site.home, *site.home.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    program = f"""
import os, pathlib
from nexus.config import ConfigStack
os.setgroups([]); os.setgid(65534); os.setuid(65534)
found = ConfigStack.validate({str(site.root)!r}, env={{"HOME": {str(site.home)!r}}}, node_file=pathlib.Path("/nonexistent"))
print(*found, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert f"{path}:1:1: the file cannot be read: permission denied" in done.stdout


def test_a_file_that_may_not_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.user("defaults: {}\n")
    real = os.open

    def denied(path: Path, *args: int) -> int:
        if Path(path) == site.user_path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args)

    monkeypatch.setattr(os, "open", denied)
    assert site.problems() == ("user:1:1: the file cannot be read: permission denied",)


def test_problems_of_all_files_are_told_at_once_from_top_to_bottom(site: Site) -> None:
    site.node("defaults: 1\nlimits: 2\n")
    site.user("nonsense: 1\n")
    site.project("x: 1\nports: {web: {container: 0}}\n")
    lines = site.problems()
    assert [line.split(": ")[0] for line in lines] == [
        "node:1:11",
        "node:2:9",
        "user:1:1",
        "project:1:1",
        "project:2:26",
    ]


def test_validate_returns_what_load_raises(site: Site) -> None:
    site.node("defaults: 1\nlimits: 2\n")
    env = {"HOME": str(site.home)}
    lines = ConfigStack.validate(site.root, env=env, node_file=site.node_path)
    assert len(lines) == 2
    with pytest.raises(ConfigError) as caught:
        ConfigStack.load(site.root, env=env, node_file=site.node_path)
    assert caught.value.problems == tuple(map(str, lines))
    assert str(caught.value) == str(lines[0])
    assert ConfigStack.validate(site.root, env=env, node_file=site.node_path.with_name("none")) == ()


def test_the_usual_places_of_a_nodes_file() -> None:
    assert (Path("/etc/nexus/config.yaml"), Path("/opt/nexus/etc/config.yaml")) == usual_files.NODE_FILES


class TestNodeFile:
    @pytest.fixture(autouse=True)
    def _candidates(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.second = tmp_path / "etc" / "one.yaml", tmp_path / "opt" / "two.yaml"
        for path in (self.first, self.second):
            path.parent.mkdir(exist_ok=True)
        monkeypatch.setattr(usual_files, "NODE_FILES", (self.first, self.second))

    def load(self, site: Site) -> ConfigStack:
        return ConfigStack.load(site.root, env={"HOME": str(site.home)})

    def test_the_second_place_counts_when_the_first_is_empty(self, site: Site) -> None:
        self.second.write_text("defaults: {image: two}\n")
        assert self.load(site).settings.image == "two"

    def test_the_first_wins_and_explain_says_that_the_other_was_ignored(self, site: Site) -> None:
        self.first.write_text("defaults: {image: one}\n")
        self.second.write_text("defaults: {image: two}\n")
        stack = self.load(site)
        said = f"{self.second}:1:1: this file is ignored, because {self.first} is there"
        assert stack.settings.image == "one"
        assert said in stack.warnings
        assert said in str(stack.explain("defaults.image"))


class TestProjectRoot:
    def test_any_folder_inside_leads_to_the_root(self, site: Site) -> None:
        site.project("workspace: {name: shop}\n")
        below = site.root / "src" / "deep"
        below.mkdir(parents=True)
        stack = site.load(at=below)
        assert (stack.settings.project_root, stack.settings.workspace.name) == (site.root, "shop")

    def test_a_folder_with_a_file_is_a_project_inside_another(self, site: Site) -> None:
        site.project("workspace: {name: outer}\n")
        inner = site.root / "packages" / "web"
        (inner / ".nexus").mkdir(parents=True)
        (inner / ".nexus" / "config.yaml").write_text("workspace: {name: inner}\n")
        assert site.load(at=inner).settings.workspace.name == "inner"

    def test_without_either_it_is_the_folder_itself(self, site: Site, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        plain.mkdir()
        assert site.load(at=plain).settings.project_root == plain

    def test_a_worktree_of_ours_uses_the_main_checkout_alone(self, site: Site) -> None:
        site.project("workspace: {name: main}\n")
        tree = site.root / ".nexus" / "worktrees" / "try-1"
        (tree / ".nexus").mkdir(parents=True)
        (tree / "src").mkdir()
        # Both may have been written by a program that ran in the worktree.
        (tree / ".git").write_text("gitdir: /somewhere/else/.git/worktrees/x\n")
        (tree / ".nexus" / "config.yaml").write_text("workspace: {name: evil}\n")
        for folder in (tree, tree / "src"):
            settings = site.load(at=folder).settings
            assert (settings.project_root, settings.workspace.name) == (site.root, "main")

    def test_a_repository_that_only_lies_in_such_a_folder_is_its_own(self, site: Site, tmp_path: Path) -> None:
        clone = tmp_path / "x" / ".nexus" / "worktrees" / "clone"
        (clone / ".git").mkdir(parents=True)
        assert site.load(at=clone).settings.project_root == clone

    def test_the_users_own_file_makes_no_project(self, site: Site) -> None:
        site.user("preferences: {theme: dark}\n")
        loose = site.home / "notes"
        loose.mkdir()
        settings = site.load(at=loose).settings
        assert (settings.project_root, settings.preferences.theme) == (loose, "dark")

    def test_a_home_folder_under_git_reads_its_file_once_as_the_users(self, site: Site) -> None:
        (site.home / ".git").mkdir()
        site.user("preferences: {theme: dark}\n")
        stack = site.load(at=site.home)
        assert stack.settings.project_root == site.home
        assert "project" not in stack.files

    @pytest.mark.parametrize("name", ["nope", "file", "nul\0"])
    def test_what_is_no_folder_is_an_error(self, site: Site, name: str) -> None:
        (site.root / "file").write_text("")
        with pytest.raises(ConfigError, match=r"is not a folder|cannot be used"):
            site.load(at=site.root / name)


class TestTrust:
    def test_a_project_file_that_links_out_of_the_project_is_not_read(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "secret.yaml").write_text("password: hunter2\n")
        site.project("").unlink()
        site.project_path.symlink_to(tmp_path / "secret.yaml")
        (line,) = site.problems()
        assert line == "project:1:1: a symbolic link leads out of the project, so what it names is not read"

    def test_so_does_its_folder(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "config.yaml").write_text("workspace: {name: x}\n")
        (site.root / ".nexus").symlink_to(tmp_path / "elsewhere")
        assert "leads out of the project" in site.problems()[0]

    def test_a_link_inside_the_project_is_fine(self, site: Site) -> None:
        site.project("").unlink()
        (site.root / "nexus.yaml").write_text("workspace: {name: linked}\n")
        site.project_path.symlink_to("../nexus.yaml")
        assert site.load().settings.workspace.name == "linked"

    def test_a_users_file_may_be_a_link(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "dotfiles.yaml").write_text("preferences: {theme: light}\n")
        site.user("").unlink()
        site.user_path.symlink_to(tmp_path / "dotfiles.yaml")
        assert site.load().settings.preferences.theme == "light"

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
    def test_a_file_planted_above_by_another_user_is_refused(self, site: Site, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        mine = shared / "mine"
        mine.mkdir(parents=True)
        planted = shared / ".nexus" / "config.yaml"
        planted.parent.mkdir()
        planted.write_text("backend: {docker: {image: evil}}\n")
        os.chown(planted, 12345, 12345)
        with pytest.raises(ConfigError, match="belongs to another user \\(uid 12345\\)"):
            site.load(at=mine)
        os.chown(mine, 12345, 12345)  # a folder of the same user's: a shared checkout, or a container's bind mount
        assert site.load(at=mine).settings.image == "evil"


class TestHome:
    def test_an_environment_without_home_has_no_user_file(self, site: Site) -> None:
        site.user("preferences: {theme: dark}\n")
        stack = ConfigStack.load(site.root, env={}, node_file=site.node_path)
        assert stack.settings.preferences.theme == "auto"
        assert "user" not in stack.files

    def test_the_process_environment_is_the_default(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.user("preferences: {theme: dark}\n")
        monkeypatch.setenv("HOME", str(site.home))
        monkeypatch.setenv("NEXUS_IMAGE", "from-env")
        monkeypatch.chdir(site.root)
        settings = ConfigStack.load(node_file=site.node_path).settings
        assert (settings.preferences.theme, settings.image) == ("dark", "from-env")

    def test_where_state_lives(self, site: Site, tmp_path: Path) -> None:
        assert site.load().settings.state_dir == site.home / ".local" / "share" / "nexus"
        assert site.load(env={"XDG_DATA_HOME": "/data"}).settings.state_dir == Path("/data/nexus")
        assert site.load(env={"XDG_DATA_HOME": "relative"}).settings.state_dir == site.home / ".local/share/nexus"
        site.node("multi_user: {enabled: true}\n")
        assert site.load(env={"XDG_DATA_HOME": "/data"}).settings.state_dir == Path("/var/lib/nexus/state")
        assert site.load(env={"NEXUS_STATE_DIR": str(tmp_path)}).settings.state_dir == tmp_path
        assert site.load(env={"NEXUS_STATE_DIR": "~/s"}).settings.state_dir == site.home / "s"
        assert site.problems(env={"NEXUS_STATE_DIR": "s"}) == (
            "env NEXUS_STATE_DIR: the folder of the state must be an absolute path",
        )
