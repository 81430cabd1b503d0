"""Holds, the watch, ports and repositories elsewhere, from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Boulder

WaitFor = Callable[[subprocess.Popen[bytes], bytes], bytes]


def test_a_hold_is_taken_listed_and_released(running: Boulder) -> None:
    held = running("ws", "hold", "a", "--for", "2h", "--reason", "a long build", "--json").json
    assert isinstance(held, list)
    assert [(one["name"], one["reason"], one["ttl"]) for one in held if isinstance(one, dict)] == [
        ("manual", "a long build", "2h")
    ]
    assert "a long build" in running("ws", "hold", "a", "--list").text
    assert "held by 'manual'" in running("ws", "show", "a").text
    assert "no holds" in running("ws", "hold", "a", "--release").err
    missing = running("ws", "hold", "a", "--release", ok=False)
    assert missing.err.startswith("error[NOT_FOUND]: workspace 'a' has no hold 'manual'")
    wrong = running("ws", "hold", "a", "--for", "0", ok=False)
    assert wrong.err.startswith("error[INVALID_ARGUMENT]: ttl must be greater than zero")


def test_the_watch_tells_what_it_does_until_it_is_interrupted(running: Boulder, wait_for: WaitFor) -> None:
    watching = running.start("ws", "watch", "--set", "defaults.idle_timeout=1", "--json")
    wait_for(watching, b'"status":"paused"')
    watching.send_signal(signal.SIGINT)
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert all(json.loads(line) for line in out.splitlines())
    assert "the next command wakes it" in running("ws", "show", "a").text
    assert "error[WORKSPACE_STOPPED]" in running("ws", "exec", "--no-wake", "a", "true", ok=False).err
    assert running("ws", "exec", "a", "echo", "up").text == "up\n"


def test_repositories_elsewhere_are_listed_with_what_is_wrong(running: Boulder, tmp_path: Path, home: Path) -> None:
    (home / ".nexus").mkdir()
    (home / ".nexus" / "config.yaml").write_text(f"workspaces: {{old: {{path: {tmp_path}/nowhere}}}}\n")
    told = running("ws", "list", "--everywhere", cwd=tmp_path).text
    assert str(running.cwd) in told
    assert f"{tmp_path}/nowhere (old)" in told
    listed = running("ws", "list", "--everywhere", "--json", cwd=tmp_path).json
    assert isinstance(listed, list)
    assert len(listed) == 2
