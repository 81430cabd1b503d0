from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from nexus.providers.local.keeper import tree


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '1000']); print('up', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TREE_MARK": f"m{os.getpid()}"},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        # A program that has only just replaced another has no environment to read yet.
        deadline = time.monotonic() + 20
        while not all(Path(f"/proc/{child.pid}/environ").read_bytes() for child in tree.descendants(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield process
        for child in tree.descendants(process.pid):
            tree.send(child, signal.SIGKILL)
        process.kill()


def test_descendants_come_after_their_parents(sleeper: subprocess.Popen[bytes]) -> None:
    found = tree.descendants(os.getpid())
    place = {process.pid: index for index, process in enumerate(found)}
    assert sleeper.pid in place
    grandchild = next(process for process in found if process.parent == sleeper.pid)
    assert place[grandchild.pid] > place[sleeper.pid]


def test_a_mark_finds_children_and_grandchildren_and_nobody_else(sleeper: subprocess.Popen[bytes]) -> None:
    pids = {process.pid for process in tree.marked(f"TREE_MARK=m{os.getpid()}".encode())}
    assert pids == {sleeper.pid, *(process.pid for process in tree.descendants(sleeper.pid))}
    assert tree.marked(f"TREE_MARK=m{os.getpid()}".encode()[:-1] + b"x") == []
    without = tree.marked(f"TREE_MARK=m{os.getpid()}".encode(), but=frozenset({sleeper.pid}))
    assert sleeper.pid not in {process.pid for process in without}


def test_a_process_with_another_start_time_gets_no_signal(sleeper: subprocess.Popen[bytes]) -> None:
    process = tree.read(sleeper.pid)
    assert process is not None
    stranger = process._replace(start_time=process.start_time - 1)
    assert not tree.send(stranger, signal.SIGKILL)
    assert sleeper.poll() is None
    assert tree.send(process, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL
    assert not tree.send(process, signal.SIGKILL)


async def test_a_stopped_process_is_seen_as_stopped(
    sleeper: subprocess.Popen[bytes], eventually: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    os.kill(sleeper.pid, signal.SIGSTOP)

    def is_stopped() -> bool:
        process = tree.read(sleeper.pid)
        return process is not None and process.stopped

    await eventually(is_stopped)


def test_a_program_name_with_parentheses_and_spaces_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as process:
        found = tree.read(process.pid)
        process.kill()
    assert found is not None
    assert found.parent == os.getpid()
