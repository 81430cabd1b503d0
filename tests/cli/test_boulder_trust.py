"""``boulder trust``, the question on a terminal, and scripts that fail, as people meet them."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Boulder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
TRICK = "touch ../../../ran #\r\x1b[2Kecho harmless"


@pytest.fixture
def project(boulder: Boulder) -> Boulder:
    """A project whose script tries to hide one of its lines from a terminal."""
    configure(boulder, "scripts: {pre-start: " + '"touch ../../../ran #\\r\\x1b[2Kecho harmless"}\n')
    return boulder


def configure(boulder: Boulder, text: str) -> None:
    (boulder.cwd / ".nexus").mkdir(exist_ok=True)
    (boulder.cwd / ".nexus" / "config.yaml").write_text(text)


def on_terminal(boulder: Boulder, answer: bytes, *words: str) -> tuple[int, bytes]:
    """Run it on a terminal, and type the answer once the question is there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        boulder.argv(*words),
        cwd=boulder.cwd,
        env={**boulder.environment(), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.write(master, b"y\n")  # typed ahead: no answer to what was not shown yet
    os.close(slave)
    seen, typed = b"", False
    try:
        while piece := os.read(master, 65536):
            seen += piece
            if not typed and b"[y/N]" in seen:
                os.write(master, answer)
                typed = True
    except OSError:
        pass  # the end, as Linux says it for terminals
    os.close(master)
    assert typed
    return process.wait(), seen


def test_without_a_terminal_it_is_refused_with_the_command_that_approves(project: Boulder) -> None:
    refused = project("ws", "up", "a", ok=False)
    assert refused.status == 7
    assert refused.err.splitlines()[0].startswith(
        "error[NOT_TRUSTED]: this project wants to run something on this host"
    )
    assert r"pre-start (" in refused.err
    assert r"touch ../../../ran #\r\x1b[2Kecho harmless" in refused.err
    assert "boulder trust" in refused.err.splitlines()[-1]
    shown = project("trust", "--show").text
    assert "pre-start (not approved), " in shown
    assert r"    1 | touch ../../../ran #\r\x1b[2Kecho harmless" in shown
    assert "\x1b" not in shown
    project("trust", "--yes")
    assert "pre-start (approved), " in project("trust").text
    listed = project("trust", "--list", "--json").json
    assert isinstance(listed, list)
    assert [entry["kind"] for entry in listed if isinstance(entry, dict)] == ["pre-start"]
    project("ws", "up", "a")
    assert (project.cwd / "ran").exists()
    assert "pre-start" in project("trust", "--revoke").text
    assert project("trust", ok=False).status == 7


def test_on_a_terminal_the_text_is_shown_and_the_answer_counts(project: Boulder) -> None:
    status, seen = on_terminal(project, b"n\n", "ws", "up", "a")
    assert status == 7
    assert rb"    1 | touch ../../../ran #\r\x1b[2Kecho harmless" in seen
    assert TRICK.encode() not in seen
    assert not (project.cwd / "ran").exists()
    status, seen = on_terminal(project, b"yes\n", "ws", "up", "a")
    assert status == 0
    assert (project.cwd / "ran").exists()
    configure(project, "scripts: {pre-start: echo other}\n")
    status, seen = on_terminal(project, b"y\n", "trust", "a")
    assert status == 0
    assert b"    1 | echo other" in seen


def test_a_degraded_workspace_says_so_and_how_to_go_on(boulder: Boulder, tmp_path: Path) -> None:
    settings = ("--set", f"scripts.post-start=test -e {tmp_path}/allowed")
    made = boulder(*settings, "ws", "up", "a")
    assert "degraded" in made.text
    assert "boulder ws retry-hooks a" in made.err
    assert "degraded: post-start failed with status 1" in boulder("ws", "list").text
    assert boulder("ws", "retry-hooks", "a", *settings, ok=False).status == 1
    (tmp_path / "allowed").touch()
    assert "\ndegraded" not in boulder("ws", "retry-hooks", "a", *settings).text
    failed = boulder("--set", "scripts.pre-start=echo why it failed; exit 9", "ws", "up", "b", ok=False)
    assert failed.status == 1
    assert failed.err.startswith("error[HOOK_FAILED]: pre-start failed with status 9; its log is ")
    assert "why it failed" in failed.err
    assert "error" in boulder("ws", "list").text
