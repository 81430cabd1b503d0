"""Starts go on together, a freeze waits for all of them, in this process and in others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from nexus.errors import Busy
from nexus.state import starting, still

HOLD = """
import anyio, sys
from pathlib import Path
from nexus.state import starting
async def main():
    async with starting(Path(sys.argv[1])):
        print("held", flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


async def test_starts_go_on_together_and_a_freeze_waits_for_them(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    seen: list[str] = []

    async def freeze() -> None:
        async with still(path):
            seen.append("frozen")

    async with anyio.create_task_group() as group, starting(path), starting(path):
        with pytest.raises(Busy, match="a command is being started"):
            async with still(path, timeout=0.01):
                pass
        group.start_soon(freeze)
        await anyio.wait_all_tasks_blocked()
        seen.append("started")
    assert seen == ["started", "frozen"]

    async with still(path):
        with pytest.raises(Busy, match="is being paused"):
            async with starting(path, timeout=0.01):
                pass


async def test_another_process_counts_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert await anyio.to_thread.run_sync(child.stdout.readline) == b"held\n"
        with pytest.raises(Busy):
            async with still(path, timeout=0.01):
                pass
    finally:
        child.kill()
        child.communicate()
    async with still(path):
        pass
