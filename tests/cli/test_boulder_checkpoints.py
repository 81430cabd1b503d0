"""Checkpoints and forks through the command line."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Boulder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_taken_listed_compared_restored_taken_back_and_deleted(boulder: Boulder) -> None:
    boulder("ws", "up", "a")
    tree = boulder.cwd / ".nexus" / "worktrees" / "a"
    (tree / "idea.txt").write_text("then\n")
    made = boulder("ws", "checkpoint", "create", "a", "before", "--json").json
    assert isinstance(made, dict)
    assert (made["name"], made["files"]) == ("before", 1)
    assert "before" in boulder("ws", "checkpoint", "list", "a").text
    (tree / "idea.txt").write_text("now, and longer\n")
    assert "changed  idea.txt" in boulder("ws", "checkpoint", "diff", "a", "before").text
    told = boulder("ws", "checkpoint", "restore", "a", "before").text
    assert (tree / "idea.txt").read_text() == "then\n"
    back = told.strip().splitlines()[-1].partition("boulder ")[2].split()
    boulder(*back)
    assert (tree / "idea.txt").read_text() == "now, and longer\n"
    assert str(made["ref"]) in boulder("ws", "checkpoint", "delete", "a", str(made["id"])[:6]).text
    gone = boulder("ws", "checkpoint", "restore", "a", "before", ok=False)
    assert (gone.status, gone.err.split(":")[0]) == (4, "error[CHECKPOINT_NOT_FOUND]")


def test_forks_in_one_table_and_a_status_that_tells(boulder: Boulder) -> None:
    boulder("ws", "create", "a", "--no-start")
    (boulder.cwd / ".nexus" / "worktrees" / "a" / "idea.txt").write_text("x\n")
    some = boulder("ws", "fork", "a", "b", "a", "--no-start", ok=False)
    assert some.status == 1
    assert "[ALREADY_EXISTS] workspace 'a' exists already" in some.text
    assert (boulder.cwd / ".nexus" / "worktrees" / "b" / "idea.txt").read_text() == "x\n"
    forks = boulder("ws", "fork", "a", "c", "--no-start", "--json").json
    assert isinstance(forks, list)
    assert [(fork["name"], fork["error"]) for fork in forks if isinstance(fork, dict)] == [("c", None)]
    refused = boulder("ws", "checkpoint", "create", "a", "--processes", ok=False)
    assert refused.err.startswith("error[UNSUPPORTED]: ")
