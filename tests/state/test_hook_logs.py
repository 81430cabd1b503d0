"""Logs of scripts: private, bounded, whole, and never written through a link."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from nexus.errors import InvalidName, StateError
from nexus.state import HookLogs
from nexus.state.hook_logs import HEAD, KEPT, TAIL


async def test_every_byte_arrives_in_order_however_it_is_stopped(tmp_path: Path) -> None:
    for pieces in (1, 7, 400):
        log = await HookLogs(tmp_path).create("a", "pre-start")
        wanted = b"".join(b"%06d\n" % number for number in range(pieces * 10))
        async with anyio.create_task_group() as group:
            group.start_soon(log.drain)
            for start in range(0, len(wanted), 70):
                log.put(wanted[start : start + 70])
                if start % 210 == 0:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        log.put(b"end")
        await log.close()
        await log.close()
        assert log.path.read_bytes() == wanted + b"end"


async def test_of_too_much_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    log = await HookLogs(tmp_path).create("a", "post-start")
    line = b"x" * 999 + b"\n"
    for _ in range(9000):
        log.put(line)
    log.put(b"last words\n")
    await log.close()
    kept = log.path.read_bytes()
    left_out = 9000 * 1000 + 11 - HEAD - TAIL
    assert f"[nexus: {left_out} bytes are left out here]".encode() in kept
    assert kept.endswith(b"last words\n")
    assert len(kept) < HEAD + TAIL + 100


async def test_the_newest_are_kept_for_each_hook_and_strangers_are_left_alone(tmp_path: Path) -> None:
    logs = HookLogs(tmp_path)
    folder = tmp_path / "state" / "logs" / "a"
    for hook in ("on_wake", "pre-stop"):
        for number in range(KEPT + 2):
            log = await logs.create("a", hook)
            log.put(b"%d" % number)
            await log.close()
    (folder / "notes.txt").write_text("mine")
    assert folder.stat().st_mode & 0o777 == 0o700
    told = sorted(path.read_text() for path in folder.glob("on_wake-*.log"))
    assert told == sorted(str(number) for number in range(2, KEPT + 2))
    await logs.remove("a")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    await logs.remove("never-there")
    with pytest.raises(InvalidName):
        await logs.remove("../a")


async def test_a_link_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state" / "logs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="symbolic link"):
        await HookLogs(tmp_path).create("a", "pre-start")
    with pytest.raises(StateError, match="symbolic link"):
        await HookLogs(tmp_path).remove("a")
    assert list((tmp_path / "elsewhere").iterdir()) == []
