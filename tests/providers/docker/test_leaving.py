"""A command that leaves something running, by the shells of this host: what it printed arrives, and what it left is not harmed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nexus.providers.docker.leaving import behind_readers

SHELLS = [shell for shell in ("sh", "bash", "busybox") if shutil.which(shell)]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("busybox", "sh") if request.param == "busybox" else (request.param,)


def wrapped(shell: tuple[str, ...], *argv: str) -> list[str]:
    _, *rest = behind_readers(argv, os.urandom(8).hex())
    return [*shell, *rest]


def run(shell: tuple[str, ...], *argv: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(wrapped(shell, *argv), capture_output=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_it_prints_and_ends_as_without(shell: tuple[str, ...], tmp_path: Path) -> None:
    ran = run(
        shell, "sh", "-c", r'printf "out\000"; printf err >&2; exit 7', env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == (b"out\0", b"err", 7)
    assert list(tmp_path.iterdir()) == []
    assert run(shell, "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert run(shell, "sh", "-c", "yes | head -1").stdout == b"y\n", "a broken pipe of its own ends a program as ever"
    assert run(shell, "sh", "-c", "ls /proc/self/fd | wc -l").stdout.split() == [b"4"], (
        "no descriptor of ours is inherited"
    )


def test_a_slow_reader_gets_all_of_it(shell: tuple[str, ...]) -> None:
    script = "head -c 1000000 /dev/zero; head -c 300000 /dev/zero >&2; printf end"
    with subprocess.Popen(wrapped(shell, "sh", "-c", f"{{ {script}; }} 2>&1"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        time.sleep(0.5)  # the pipes are full by now, or the machine is slow: both are fine
        printed = process.stdout.read()
        assert process.wait(60) == 0
    assert len(printed) == 1_300_003
    assert printed.endswith(b"end")


def test_what_is_left_running_outlives_the_pipes(shell: tuple[str, ...], tmp_path: Path) -> None:
    beat, left = tmp_path / "beat", tmp_path / "left"
    script = f"(trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); printf '%020000d' $i; echo $i >{beat}; sleep 0.01; done) & echo $! >{left}"
    with subprocess.Popen(wrapped(shell, "sh", "-c", script), stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"0"
        assert process.wait(60) == 0
        process.stdout.close()
        try:
            for number in (1, 60, 120):  # more than two megabytes, which nobody reads
                deadline = time.monotonic() + 60
                while int(beat.read_text().strip() or 0 if beat.exists() else 0) < number:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        finally:
            os.kill(int(left.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + 60
        while True:  # its readers end with it
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_where_there_is_no_place_for_pipes_it_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "echo").symlink_to(shutil.which("echo") or "/bin/echo")
    ran = run((shutil.which("sh") or "/bin/sh",), "echo", "hello", env={"PATH": str(tmp_path)})
    assert (ran.stdout, ran.stderr, ran.returncode) == (b"hello\n", b"", 0)
