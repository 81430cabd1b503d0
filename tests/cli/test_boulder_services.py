"""Services on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Boulder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SERVICES = """\
services:
  job: {command: 'echo "job done"; exit 0'}
  ticker: {command: 'echo tick; read -r code < code; exit $code', env: {ROLE: ticker}}
"""


def test_services_are_shown_asked_and_entered(boulder: Boulder, repository: Path) -> None:
    (repository / ".nexus").mkdir(exist_ok=True)
    (repository / ".nexus" / "config.yaml").write_text(SERVICES)
    refused = boulder("ws", "create", "a", ok=False)
    assert "NOT_TRUSTED" in refused.err
    assert "service ticker" in refused.err
    boulder("trust", "--yes")
    boulder("ws", "create", "a", "--no-start")
    tree = repository / ".nexus" / "worktrees" / "a"
    os.mkfifo(tree / "code")
    boulder("ws", "up", "a")
    shown = boulder("ws", "show", "a").text
    assert "service ticker" in shown
    assert boulder("ws", "logs", "a", "--service", "ticker").text == "tick\n"
    assert boulder("ws", "exec", "a", "--service", "ticker", "--", "sh", "-c", "echo $ROLE").text == "ticker\n"
    missing = boulder("ws", "logs", "a", "--service", "nobody", ok=False)
    assert missing.status != 0
    assert "workspace 'a' has no service 'nobody'" in missing.err
    assert "it has job, ticker" in missing.err
    (tree / "code").write_text("4\n")
    boulder("ws", "logs", "a", "--service", "ticker", "--follow")
    assert "degraded: service 'ticker' ended with status 4" in boulder("ws", "list").text
    assert "degraded" in boulder("ws", "show", "a").text
    boulder("ws", "destroy", "a", "--force", "--keep-volumes")
