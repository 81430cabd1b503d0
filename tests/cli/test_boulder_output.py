"""Output: drawn on a terminal, plain elsewhere, JSON on request; hostile text never acts on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

import nexus
from cli_example import progress, render, views
from nexus.models.findings import Finding
from nexus.models.ids import new_workspace_id, parse_name
from nexus.models.ports import PortMapping
from nexus.models.requests import DestroyOutcome, GcAction, SwitchOutcome, SyncOutcome
from nexus.models.resources import ResourceAllocation
from nexus.models.workspace import DamagedRecord, Repository
from tests.cli.conftest import Boulder

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def workspace(**changes: object) -> nexus.WorkspaceInfo:
    made = nexus.WorkspaceInfo(
        id=new_workspace_id(),
        name=parse_name("a"),
        status=nexus.WorkspaceStatus.RUNNING,
        backend="local",
        repository=Repository(root=Path("/r"), common_dir=Path("/r/.git")),
        branch="nexus/a",
        worktree_path=Path("/r/.nexus/worktrees/a"),
        resources=ResourceAllocation(),
        ports=(PortMapping(name="web", container_port=80, host_port=32801, url="http://127.0.0.1:32801"),),
        created_at=NOW,
        updated_at=NOW,
        last_active_at=NOW,
    )
    return made.model_copy(update=changes)


def drawn(value: object, capsys: pytest.CaptureFixture[str]) -> list[str]:
    render.draw(views.view(value), empty="nothing")
    return capsys.readouterr().out.splitlines()


def test_a_list_is_aligned_and_leaves_out_empty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    damaged = DamagedRecord(name="b", path=Path("/r/b.json"), reason="line 1: it ends too early")
    assert drawn((workspace(current=True), damaged), capsys) == [
        "   NAME  STATUS   BACKEND  BRANCH   PORTS      REMARK",
        "*  a     running  local    nexus/a  web:32801",
        "   b     damaged                               line 1: it ends too early (/r/b.json)",
    ]


def test_a_workspace_whose_place_is_gone_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "status" in drawn(workspace(missing=True), capsys)[1]
    assert drawn(workspace(missing=True), capsys)[1].split() == ["status", "missing"]


def test_wide_characters_keep_the_columns_straight(capsys: pytest.CaptureFixture[str]) -> None:
    found = (
        Finding(check="中文", level="ok", message="one"),
        Finding(check="git", level="error", message="two", hint="do"),
    )
    assert drawn(found, capsys) == ["LEVEL  CHECK  FOUND  NEXT", "ok     中文   one", "error  git    two    do"]


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (SwitchOutcome(previous=None, current="a", previous_status=None, seconds=0.0214), ["a is the current workspace (21 ms)"]),
        (
            SwitchOutcome(previous="b", current="a", previous_status=nexus.WorkspaceStatus.PAUSED, seconds=1),
            ["a is the current workspace (1000 ms); b is paused"],
        ),
        (DestroyOutcome(name="a", branch_deleted=True), ["a is destroyed; its branch is gone too"]),
        (
            DestroyOutcome(name="a", rescued="refs/nexus/rescue/a/1"),
            ["a is destroyed; its branch stays", "unsaved work is kept under refs/nexus/rescue/a/1"],
        ),
        (
            SyncOutcome(branch="nexus/a", remote="origin", before="1" * 40, after="2" * 40, fast_forwarded=True),
            ["nexus/a: 111111111111 → 222222222222"],
        ),
        (
            SyncOutcome(branch="nexus/a", remote=None, before="1" * 40, after="1" * 40, fast_forwarded=False, message="no remote"),
            ["nexus/a: stays at 111111111111; no remote"],
        ),
        (
            (GcAction(kind="orphan", name="a", action="removed", reason="nobody's"),),
            ["ACTION   KIND    NAME  REASON", "removed  orphan  a     nobody's"],
        ),
        ((PortMapping(name="dns", protocol="udp", container_port=53, host_port=32802, fixed=True),),
            ["NAME  INSIDE  HOST   VISIBILITY  FIXED", "dns   53/udp  32802  private     yes"]),
        ({"a": {"b": [1]}, "c": "text", "d": None, "e": {}}, ["a.b  [1]", "c    text", "d    null", "e    {}"]),
    ],
)  # fmt: skip
def test_what_people_see_of_each_value(value: object, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert drawn(value, capsys) == lines


def test_nothing_to_show_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    render.draw(views.view(()), empty="no workspaces")
    assert capsys.readouterr() == ("", "no workspaces\n")


def test_text_from_a_repository_never_acts_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = DamagedRecord(name="\x1b[31mb\r", path=Path("/r\n/x"), reason="\x07\u202e")
    shown = drawn((hostile,), capsys)
    assert len(shown) == 2
    assert all(line.isprintable() for line in shown)


def test_json_has_the_fields_of_the_models() -> None:
    info = workspace()
    assert json.loads(views.to_json((info,))) == [info.model_dump(mode="json")]
    with pytest.raises(TypeError):
        views.to_json(object())


def test_progress_is_lines_only_for_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        with progress.reporting(verbose=verbose) as (report, _, _):
            report("image", "pulling \x1b[2J")
            report("image", "pulling \x1b[2J", 1, 2)
            report("image", "pulling \x1b[2J", 2, 2)
            report("start", "starting")
    assert capsys.readouterr() == (
        "",
        "image: pulling \\x1b[2J\nimage: pulling \\x1b[2J (2/2)\nstart: starting\n",
    )


def test_pipes_get_no_escape_and_no_frame(bare: Boulder) -> None:
    bare.env.update(FORCE_COLOR="1", TERM="xterm-256color")
    for words in (
        ["--help"],
        ["ws", "up", "--help"],
        ["doctor"],
        ["config", "show"],
        ["config", "explain", "defaults.image"],
    ):
        done = bare(*words, ok=False)
        assert re.search("[\x1b\u2500-\u257f]", done.text + done.err) is None, words


@pytest.mark.slow
def test_a_terminal_gets_colours_and_progress_on_standard_error(bare: Boulder) -> None:
    master, slave = pty.openpty()
    env = {**bare.environment(), "TERM": "xterm-256color", "COLUMNS": "100"}
    ran = subprocess.run(bare.argv("doctor"), cwd=bare.cwd, env=env, stdout=slave, stderr=subprocess.PIPE, check=False)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        pass  # the end, as Linux says it for terminals
    os.close(master)
    assert b"\x1b[32m" in shown
    assert b"\x1b" not in ran.stderr


def test_the_version_twice(bare: Boulder) -> None:
    assert bare("--version").text == f"boulder {nexus.__version__}\n"
    assert bare("version", "--json").json == {"version": nexus.__version__}


@pytest.mark.parametrize("level", ["node", "user", "project"])
def test_schemas_are_json_without_being_asked(bare: Boulder, level: str) -> None:
    schema = bare("config", "schema", level).json
    assert isinstance(schema, dict)
    assert schema["title"] == f"Nexus {level} file"


def test_explain_names_the_place_and_the_winner(bare: Boulder) -> None:
    file = bare.cwd / ".nexus" / "config.yaml"
    file.parent.mkdir()
    file.write_text("defaults:\n  idle_timeout: 2h\n")
    told = bare("config", "explain", "defaults.idle_timeout", "--idle-timeout", "4h", "--json").json
    assert isinstance(told, dict)
    assert (told["value"], told["winner"]) == ("4h", "flags")
    assert f"{file}:2:17" in bare("config", "explain", "defaults.idle_timeout").text
    bare.env["NEXUS_IDLE_TIMEOUT"] = "5h"
    assert bare("config", "explain", "defaults.idle_timeout", "--idle-timeout", "4h").text.startswith(
        "defaults.idle_timeout = 5h\n"
    )
