"""``boulder config validate``, ``config schema --path``, ``ws open``, and the colours."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from cli_example.render import style
from nexus.config import json_schema
from nexus.config.preferences import Theme
from tests.cli.conftest import Boulder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def user_file(home: Path, text: str) -> Path:
    return write(home / ".nexus" / "config.yaml", text)


def test_validate_tells_all_problems_of_all_files_or_of_one(bare: Boulder, home: Path) -> None:
    user = user_file(home, "defaults: {port_range: {start: 9, end: 8}}\npreferences: {telemetry: {enabled: true}}\n")
    project = write(bare.cwd / ".nexus" / "config.yaml", "nonsense: 1\nports: {web: {container: 1, host: 32768}}\n")
    done = bare("config", "validate", ok=False)
    lines = done.err.splitlines()
    assert (done.status, lines[0]) == (3, "error[CONFIG_INVALID]: the configuration has 2 problems")
    assert [line.strip().split(": ")[0] for line in lines[1:3]] == [f"{user}:1:32", f"{project}:1:1"]
    told = bare("config", "validate", "--level", "project", "--json", ok=False)
    assert told.status == 3
    (problem,) = json.loads(told.err)["error"]["details"]["problems"]
    assert problem == f"{project}:1:1: unknown key 'nonsense'"
    project.write_text("ports: {web: {container: 1, host: 3000}}\n")
    assert bare("config", "validate", "--level", "project", "--json").json == {"valid": True, "warnings": []}
    user.write_text("preferences: {telemetry: {enabled: true}}\n")
    fine = bare("config", "validate", "--json").json
    assert isinstance(fine, dict)
    assert fine["warnings"] == [
        f"{user}:1:36: 'preferences.telemetry.enabled' is remembered; this version records and sends nothing"
    ]
    wrong = bare("config", "validate", "--level", "cluster", ok=False)
    assert (wrong.status, wrong.err.splitlines()[0]) == (
        2,
        "error[USAGE]: invalid value for --level: 'cluster' is none of node, user, project",
    )


def test_the_installed_schema_is_named(bare: Boulder) -> None:
    path = Path(bare("config", "schema", "user", "--path").text.strip())
    assert json.loads(path.read_text()) == json_schema("user")


@pytest.fixture
def editors(tmp_path: Path, running: Boulder) -> Path:
    """A folder of programs with the names of editors; each writes down its words and where it was started."""
    folder = tmp_path / "bin"
    for name in ("cursor", "vim"):
        program = write(folder / name, '#!/bin/sh\nprintf "%s\\n" "$PWD" "$0" "$@" >"$NOTE"\nexit 5\n')
        program.chmod(0o755)
    running.env = {"PATH": f"{folder}:{os.environ['PATH']}", "NOTE": str(tmp_path / "note")}
    return folder


def test_open_runs_the_preferred_editor_on_the_tree(
    running: Boulder, editors: Path, home: Path, tmp_path: Path
) -> None:
    tree = running.cwd / ".nexus" / "worktrees" / "a"
    done = running("ws", "open", "a", ok=False)
    assert (done.status, done.err.splitlines()[0]) == (
        2,
        "error[USAGE]: invalid value for --editor: no editor is preferred; name one, or set preferences.default_editor",
    )
    user_file(home, "preferences: {default_editor: cursor}\n")
    assert running("ws", "open", "a", ok=False).status == 5  # the editor's own
    assert (tmp_path / "note").read_text().splitlines() == [
        str(tree),
        str(editors / "cursor"),
        "--new-window",
        str(tree),
    ]
    assert running("ws", "open", "a", "--editor", "vim", ok=False).status == 5
    assert (tmp_path / "note").read_text().splitlines()[1:] == [str(editors / "vim"), str(tree)]
    (tmp_path / "note").unlink()
    assert running("ws", "open", "a", "--print").text == f"cursor --new-window {tree}\n"
    shown = running("ws", "open", "a", "--print", "--json", "--editor", "vim").json
    assert shown == {"argv": ["vim", str(tree)], "cwd": str(tree), "terminal": True}
    assert not (tmp_path / "note").exists()

    missing = running("ws", "open", "a", "--editor", "zed", ok=False)
    assert (missing.status, missing.err.splitlines()[0]) == (
        127,
        "error[EXEC_START_FAILED]: the editor 'zed' is not there",
    )
    unknown = running("ws", "open", "a", "--editor", "curser", ok=False)
    assert (unknown.status, "perhaps you meant 'cursor'" in unknown.err) == (2, True)
    (tree / "zed").symlink_to(editors / "vim")  # a tree holds what it likes
    running.env["PATH"] = f":.:{running.env['PATH']}"
    assert running("ws", "open", "a", "--editor", "zed", cwd=tree, ok=False).status == 127
    (tree / "zed").unlink()
    damaged = write(editors / "hx", "#!/nowhere/sh\n")
    damaged.chmod(0o755)
    assert running("ws", "open", "a", "--editor", "helix", ok=False).status == 126
    assert not (tmp_path / "note").exists()


def colours(boulder: Boulder) -> str:
    """What a terminal is shown of the list."""
    here, there = pty.openpty()
    env = {**boulder.environment(), "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    ran = subprocess.run(
        boulder.argv("ws", "list"), cwd=boulder.cwd, env=env, stdout=there, stderr=subprocess.PIPE, check=True
    )
    os.close(there)
    seen = b""
    try:
        while piece := os.read(here, 65536):
            seen += piece
    except OSError:  # the other end is closed
        pass
    os.close(here)
    assert ran.returncode == 0
    return seen.decode()


def test_the_theme_decides_about_colours(running: Boulder, home: Path) -> None:
    seen = {"auto": colours(running)}
    for theme in ("dark", "none"):
        user_file(home, f"preferences: {{theme: {theme}}}\n")
        seen[theme] = colours(running)
        assert "running" in seen[theme]
    assert len(set(seen.values())) == 3
    assert "\x1b[32m" in seen["auto"]
    assert "\x1b[92m" in seen["dark"]
    assert "\x1b[3" not in seen["none"]


@pytest.mark.parametrize("theme", Theme.__args__)  # type: ignore[attr-defined] # a Literal's words
def test_every_theme_has_a_colour_for_every_status(theme: str) -> None:
    words = ("running", "pending", "paused", "stopped", "error")
    assert (len({style(word, theme) for word in words}) == len(words)) is (theme != "none")
    assert style("hello", theme) == ""
