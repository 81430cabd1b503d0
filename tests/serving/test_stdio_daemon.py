from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from anyio import to_thread

from nexus.daemon.framing import Unframer, framed
from tests.serving.conftest import Daemons


@pytest.mark.slow
async def test_an_editor_talks_over_its_pipes(daemons: Daemons) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli_example", "--backend", "local", "daemon", "stdio", "--project", str(daemons.root)],
        env=daemons.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    unframer = Unframer()
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(id: int, method: str, **params: object) -> Any:  # noqa: A002
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})))
        process.stdin.flush()
        while (message := unframer.take()) is None:
            data = process.stdout.read1(65536)  # type: ignore[attr-defined] # it is buffered
            assert data, process.stderr.read() if process.stderr else b""
            unframer.feed(data)
        return json.loads(message)

    def talk() -> None:
        early = ask(1, "workspace.list")
        assert early["error"]["code"] == -32002
        assert ask(2, "initialize", protocol={"min": 1, "max": 1})["result"]["subject"] == "stdio"
        assert ask(3, "workspace.list")["result"]["items"] == []

    try:
        await to_thread.run_sync(talk)
        _, said = await to_thread.run_sync(process.communicate)
        assert process.returncode == 0
        assert said == b""
    finally:
        process.kill()
        process.wait()
