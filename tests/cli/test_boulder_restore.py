"""Destroyed and brought back through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Boulder
from tests.workbench import git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_forced_away_listed_and_brought_back(boulder_anywhere: Boulder) -> None:
    boulder = boulder_anywhere
    boulder("ws", "up", "a")
    tree = boulder.cwd / ".nexus" / "worktrees" / "a"
    (tree / "idea.txt").write_text("precious\n")
    (tree / "README.md").write_text("staged\n")
    git(tree, "add", "README.md")
    before = git(tree, "status", "--porcelain=v2", "--branch")
    told = boulder("ws", "destroy", "a", "--force").text
    assert "unsaved work is kept under refs/nexus/rescue/a/" in told
    command = told.strip().splitlines()[-1].partition("boulder ")[2].split()
    assert boulder("ws", "list", "--json").names == []
    entries = boulder("ws", "list", "--all", "--json").json
    assert isinstance(entries, list)
    (entry,) = entries
    assert isinstance(entry, dict)
    assert (entry["name"], entry["status"], entry["restore"]) == ("a", "destroyed", "boulder " + " ".join(command))
    assert f"boulder {' '.join(command)}" in boulder("ws", "list", "--all").text
    found = boulder("ws", "rescues", "a", "--json").json
    assert isinstance(found, list)
    (rescue,) = found
    assert isinstance(rescue, dict)
    assert (rescue["name"], rescue["files"]) == ("a", 1)
    assert str(rescue["ref"]) in boulder("ws", "rescues").text
    assert boulder("ws", "rescues", "b", "--json").json == []
    back = boulder(*command, "--json").json
    assert isinstance(back, dict)
    assert (back["name"], back["status"]) == ("a", "running")
    assert git(tree, "status", "--porcelain=v2", "--branch") == before
    assert (tree / "idea.txt").read_text() == "precious\n"
    other = boulder("ws", "restore", "a", "--as", "b", "--no-start", "--json").json
    assert isinstance(other, dict)
    assert (Path(str(other["worktree_path"])) / "idea.txt").read_text() == "precious\n"


def test_nothing_to_restore_is_status_four(boulder: Boulder) -> None:
    none = boulder("ws", "restore", "a", ok=False)
    assert (none.status, none.err.split(":")[0]) == (4, "error[WORKSPACE_NOT_FOUND]")
    boulder("ws", "create", "a", "--no-start")
    boulder("ws", "destroy", "a")
    never = boulder("ws", "restore", "a", "--at", "1999", ok=False)
    assert (never.status, never.err.split(":")[0]) == (4, "error[NOT_FOUND]")


def test_a_refusal_is_one_json_object_with_every_field(running: Boulder) -> None:
    tree = running.cwd / ".nexus" / "worktrees" / "a"
    (tree / "idea.txt").write_text("precious\n")
    refused = running("ws", "destroy", "a", "--json", ok=False)
    assert (refused.status, refused.out) == (5, b"")
    error = json.loads(refused.err)["error"]
    assert (error["code"], error["details"]["lost"]) == ("UNSAVED_WORK", ["untracked: idea.txt"])
    assert error["details"]["report"]["untracked"] == ["idea.txt"]
    assert error["details"]["report"]["branch"] == "nexus/a"


def test_prune_says_what_and_why_and_does_it_when_told(running: Boulder) -> None:
    (running.cwd / ".nexus" / "worktrees" / "a" / "idea.txt").write_text("precious\n")
    running("ws", "destroy", "a", "--force")
    assert "younger than 14d" in running("prune").text
    would = running("prune", "--dry-run", "--older-than", "0s").text
    assert would.count("would-remove") == 2
    assert "9B" in would
    fits = running("prune", "--older-than", "0s", "--max-disk", "1G", "--json").json
    assert isinstance(fits, list)
    assert {each["action"] for each in fits if isinstance(each, dict)} == {"kept"}
    assert running("prune", "--older-than", "0s").text.count("removed") == 2
    assert running("ws", "list", "--all", "--json").json == []
    assert running("prune").err == "nothing was kept\n"
