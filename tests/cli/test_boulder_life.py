"""A workspace's whole life through the command line, on processes and on a container engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Boulder
from tests.workbench import git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_from_up_to_a_clean_end_twice(boulder_anywhere: Boulder) -> None:
    boulder = boulder_anywhere
    for _ in range(2):
        boulder("ws", "up", "a")
        told = boulder("ws", "exec", "a", "--", "sh", "-c", "echo hi > f; id -u; pwd").text.split()
        tree = boulder.cwd / ".nexus" / "worktrees" / "a"
        assert (tree / "f").read_text() == "hi\n"
        assert told[0] == str((tree / "f").stat().st_uid)
        boulder("ws", "up", "b")
        boulder("ws", "switch", "a")
        assert "a is paused" in boulder("ws", "switch", "b").text
        listed = boulder("ws", "list", "--json").json
        assert isinstance(listed, list)
        assert [(entry["name"], entry["status"], entry["current"]) for entry in listed if isinstance(entry, dict)] == [
            ("a", "paused", False),
            ("b", "running", True),
        ]
        boulder("ws", "down", "b")
        boulder("ws", "destroy", "b")
        refused = boulder("ws", "destroy", "a", ok=False)
        assert (refused.status, refused.out) == (5, b"")
        assert refused.err.startswith("error[UNSAVED_WORK]: ")
        assert "f" in refused.err.splitlines()[1]
        assert refused.err.splitlines()[-1].startswith("hint: ")
        kept = boulder("ws", "destroy", "a", "--force", "--json").json
        assert isinstance(kept, dict)
        assert git(boulder.cwd, "show", f"{kept['rescued']}:f") == "hi\n"
        assert boulder("ws", "list", "--json").json == []


def test_up_starts_and_resumes_what_is_there(boulder: Boulder) -> None:
    boulder("ws", "up", "a")
    first = boulder("ws", "show", "a", "--json").json
    refused = boulder("ws", "down", "a", "--keep-processes", ok=False)
    assert refused.err.startswith("error[UNSUPPORTED]: the local backend cannot keep processes\n")
    assert "running" in boulder("ws", "show", "a").text
    boulder("ws", "down", "a", "--grace", "1s")
    assert "stopped" in boulder("ws", "show", "a").text
    boulder("ws", "up", "a")
    boulder("ws", "pause", "a")
    boulder("ws", "up", "a")
    again = boulder("ws", "show", "a", "--json").json
    assert isinstance(first, dict)
    assert isinstance(again, dict)
    assert (again["id"], again["status"]) == (first["id"], "running")


def test_create_takes_what_it_is_given(boulder: Boulder) -> None:
    git(boulder.cwd, "branch", "old")
    git(boulder.cwd, "commit", "-qm", "second", "--allow-empty")
    made = boulder(
        *("ws", "create", "a", "--from", "old", "--label", "who=me", "--label", "why=", "--ttl", "2h", "--no-start"),
        *("--json", "--set", "ports.web=3000"),
    ).json
    assert isinstance(made, dict)
    assert made["status"] == "stopped"
    assert made["labels"] == {"who": "me", "why": ""}
    assert made["expires_at"] is not None
    assert git(boulder.cwd, "rev-parse", "nexus/a") == git(boulder.cwd, "rev-parse", "old")
    ports = boulder("ws", "ports", "a", "--json").json
    assert isinstance(ports, list)
    assert [(port["name"], port["container_port"]) for port in ports if isinstance(port, dict)] == [("web", 3000)]
    assert boulder("ws", "list", "--json", "--label", "who=me").names == ["a"]
    assert boulder("ws", "list", "--json", "--label", "who=you").names == []
    assert boulder("ws", "list", "--json", "--status", "running").names == []
    assert boulder("ws", "list", "--json", "--status", "running", "--status", "stopped").names == ["a"]


def test_a_branch_that_is_there_is_adopted_only_when_asked(boulder: Boulder) -> None:
    git(boulder.cwd, "branch", "nexus/a")
    refused = boulder("ws", "create", "a", ok=False)
    assert (refused.status, refused.err.split(":")[0]) == (5, "error[GIT_BRANCH_IN_USE]")
    assert git(boulder.cwd, "branch", "--list", "nexus/a") != "", "a refused creation removed somebody's branch"
    boulder("ws", "create", "a", "--adopt-branch")
    boulder("ws", "destroy", "a")
    assert git(boulder.cwd, "branch", "--list", "nexus/a") != ""
    git(boulder.cwd, "branch", "-D", "nexus/a")


def test_the_current_workspace_is_meant_where_none_is_named(running: Boulder) -> None:
    none = running("ws", "show", ok=False)
    assert (none.status, none.err.splitlines()[0]) == (4, "error[WORKSPACE_NOT_FOUND]: no workspace is the current one")
    running("ws", "switch", "a")
    shown = running("ws", "show", "--json").json
    assert isinstance(shown, dict)
    assert shown["name"] == "a"
    assert running("ws", "ports", "--json").json == []
    assert running("ws", "logs").out == running("ws", "logs", "a").out


def test_from_a_sub_folder_from_a_worktree_and_from_afar(running: Boulder, tmp_path: Path) -> None:
    tree = running.cwd / ".nexus" / "worktrees" / "a"
    for place in (running.cwd / "src", tree, tree / "src"):
        assert running("ws", "list", "--json", cwd=place).names == ["a"]
    assert running("ws", "list", "--json", "--project", str(tree / "src"), cwd=tmp_path).names == ["a"]
    assert running("--project", "app/src", "ws", "list", "--json", cwd=tmp_path).names == ["a"]


def test_init_writes_a_file_once_and_keeps_git_clean(bare: Boulder) -> None:
    done = bare("init", "--json")
    assert isinstance(done.json, dict)
    file = Path(str(done.json["config"]))
    assert file == bare.cwd / ".nexus" / "config.yaml"
    assert "boulder ws up NAME" in done.err
    assert git(bare.cwd, "status", "--porcelain", "-uall").split() == ["??", ".nexus/config.yaml"]
    assert bare("config", "validate").status == 0
    file.write_text("# mine\n")
    again = bare("init", ok=False)
    assert (again.status, again.err.split(":")[0]) == (5, "error[ALREADY_EXISTS]")
    assert file.read_text() == "# mine\n"
    assert bare("init", "--print").text.startswith("# yaml-language-server: $schema=")
    assert file.read_text() == "# mine\n"
    forced = bare("init", "--force", "--json").json
    assert isinstance(forced, dict)
    assert Path(str(forced["backup"])).read_text() == "# mine\n"
    Path(str(forced["schema"])).unlink()
    assert Path(bare("init", "--schema").text.split()[1]) == Path(str(forced["schema"]))
    assert Path(str(forced["schema"])).exists()


def test_init_writes_down_what_other_tools_have(bare: Boulder) -> None:
    (bare.cwd / "compose.yaml").write_text("services:\n  db: {image: 'postgres:16', cap_add: [SYS_ADMIN]}\n")
    assert "'services.db.cap_add' is not taken over" in bare("config", "validate").text
    none = bare("init", "--from", "devcontainer", ok=False)
    assert "has no devcontainer file" in none.err
    assert "image: postgres:16  # compose.yaml:2" in bare("init", "--from", "compose", "--print").text.replace('"', "")
    bare("init", "--from", "compose")
    assert "cap_add" not in bare("config", "validate").text
    assert "postgres:16" in bare("config", "explain", "services.db.image").text


def test_what_init_writes_runs_as_it_stands(boulder: Boulder) -> None:
    (boulder.cwd / "package.json").write_text('{"devDependencies": {"vite": "5"}}')
    boulder("init")
    assert boulder("ws", "up", "a", "--json").status == 0
    assert boulder("ws", "exec", "a", "--", "git", "status", "--porcelain").text == ""
    (web,) = json.loads(boulder("ws", "ports", "a", "--json").text)
    assert (web["name"], web["container_port"]) == ("web", 5173)


@pytest.mark.docker
def test_what_init_writes_runs_in_a_container(repository: Path, engine: str, test_image: str) -> None:
    boulder = Boulder(repository, ("--set", f"backends.docker.socket={engine}"))
    (repository / ".devcontainer.json").write_text(f'{{"image": "{test_image}"}}')
    try:
        boulder("init")
        boulder("ws", "up", "a")
        assert boulder("ws", "exec", "a", "--", "cat", "README.md").text == "# app\n"
        shown = json.loads(boulder("ws", "show", "a", "--json").text)
        assert (shown["backend"], shown["image"]) == ("docker", test_image)
    finally:
        boulder("ws", "destroy", "a", "--force", ok=False)


def test_doctor_and_gc_find_nothing_after_a_clean_life(running: Boulder) -> None:
    findings = running("doctor", "--json").json
    assert isinstance(findings, list)
    levels = {str(each["check"]): each["level"] for each in findings if isinstance(each, dict)}
    assert (levels["git"], levels["records"], levels["leftovers"]) == ("ok", "ok", "ok")
    assert running("ws", "gc", "--dry-run", "--json").json == []


def test_gc_destroys_what_has_expired_and_says_so(boulder: Boulder) -> None:
    boulder("ws", "create", "a", "--ttl", "1ms")
    would = boulder("ws", "gc", "--dry-run", "--json").json
    assert isinstance(would, list)
    assert [(each["name"], each["action"]) for each in would if isinstance(each, dict)] == [("a", "would-remove")]
    assert boulder("ws", "list", "--json").names == ["a"]
    assert "removed" in boulder("ws", "gc").text
    assert boulder("ws", "list", "--json").names == []


def test_two_creations_of_one_name_at_once(boulder: Boulder) -> None:
    both = [boulder.start("ws", "create", "a") for _ in range(2)]
    ended = [process.communicate() for process in both]
    statuses = sorted(process.returncode for process in both)
    assert statuses == [0, 5], ended
    (loser,) = [err.decode() for process, (_, err) in zip(both, ended, strict=True) if process.returncode]
    assert loser.split(":")[0] in {"error[ALREADY_EXISTS]", "error[BUSY]"}
    assert boulder("ws", "list", "--json").names == ["a"]


def test_sync_brings_what_the_remote_has(boulder: Boulder, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(boulder.cwd), "far.git")
    git(boulder.cwd, "remote", "add", "origin", str(tmp_path / "far.git"))
    boulder("ws", "up", "a")
    tree = boulder.cwd / ".nexus" / "worktrees" / "a"
    git(tree, "push", "-q", "-u", "origin", "nexus/a")
    git(tmp_path, "clone", "-q", "-b", "nexus/a", str(tmp_path / "far.git"), "other")
    (tmp_path / "other" / "new").write_text("new\n")
    git(tmp_path / "other", "add", "new")
    git(tmp_path / "other", "commit", "-qm", "new")
    git(tmp_path / "other", "push", "-q", "origin", "nexus/a")
    synced = boulder("ws", "sync", "a", "--json").json
    assert isinstance(synced, dict)
    assert synced["fast_forwarded"] is True
    assert (tree / "new").read_text() == "new\n"
