"""The shell that waits for commands, run by this machine's own ``sh`` and spoken to directly."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus.models.execution import SpawnRequest
from nexus.providers.docker.exec_marks import Began, Ended, Idle, Mark, MarkScanner, Ready, Refused
from nexus.providers.docker.exec_script import hand_over, serving_shell

_TOKEN = "t0k3n"
_NONCE = "n0nce"
_PATIENCE = 20.0


class Shell:
    """A serving shell of this machine."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            serving_shell(_TOKEN),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "KEPT": "yes"},
            cwd=folder,
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.stdin, self.stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr
        marks, _ = self.until(lambda marks: Ready() in marks, nonce=_TOKEN)
        assert marks == [Ready()]

    def give(self, *argv: str, go: bytes = b"go\n", env: Mapping[str, str] | None = None, **options: Any) -> None:
        request = SpawnRequest(argv=argv, env=env or {}, **options)
        self.stdin.write(hand_over(request, _NONCE, _TOKEN))
        self.stdin.flush()
        marks, _ = self.until(lambda marks: Ready() in marks)
        assert marks == [Ready()]
        self.stdin.write(go)
        self.stdin.flush()

    def run(self, *argv: str, **options: Any) -> tuple[list[Mark], bytes]:
        """Run a command to the point where the shell is idle, or has gone."""
        self.give(*argv, **options)
        return self.until(lambda marks: marks.count(Idle()) == 2)

    def until(
        self, enough: Callable[[Sequence[Mark]], bool] = lambda _: False, *, nonce: str = _NONCE
    ) -> tuple[list[Mark], bytes]:
        """Read marks and output until it is enough, or to the end."""
        scanners = {self.stdout: MarkScanner(nonce), self.stderr: MarkScanner(nonce)}
        # Those of standard error first: which stream is read first is chance.
        found: dict[object, list[Mark]] = {self.stderr: [], self.stdout: []}
        marks: list[Mark] = []
        printed = b""
        deadline = time.monotonic() + _PATIENCE
        while scanners and not enough(marks):
            ready, _, _ = select.select(list(scanners), [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"nothing came after {marks} and {printed!r}"
            for stream in ready:
                data = os.read(stream.fileno(), 65536)
                items = scanners[stream].feed(data) if data else [scanners.pop(stream).finish()]
                found[stream] += [item for item in items if not isinstance(item, bytes)]
                printed += b"".join(item for item in items if isinstance(item, bytes))
            marks = [mark for each in found.values() for mark in each]
        return marks, printed

    def end(self) -> int:
        """Wait for its end."""
        return self.process.wait(_PATIENCE)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    for stream in (shell.stdin, shell.stdout, shell.stderr):
        stream.close()
    with suppress(ProcessLookupError):
        os.killpg(shell.process.pid, signal.SIGKILL)
    shell.process.wait(_PATIENCE)


def test_one_command_after_the_other_and_nothing_of_one_is_seen_by_the_next(shell: Shell, tmp_path: Path) -> None:
    marks, printed = shell.run("sh", "-c", "cd /; echo $A; exit 7", env={"A": "1"}, cwd="/")
    assert isinstance(marks[0], Began)
    assert marks[1:] == [Ended(7, oom=False), Idle(), Idle()]
    assert printed == b"1\n"

    _, printed = shell.run("sh", "-c", "echo [$A] $KEPT; pwd; cat")
    assert printed == f"[] yes\n{tmp_path}\n".encode(), "another folder, variable or input"


def test_a_command_that_is_not_let_go_never_starts(shell: Shell, tmp_path: Path) -> None:
    shell.give("touch", str(tmp_path / "started"), go=b"")
    shell.stdin.close()

    assert shell.end() == 0
    assert not (tmp_path / "started").exists()


def test_it_ends_with_its_input(shell: Shell) -> None:
    shell.run("true")
    shell.stdin.close()

    assert shell.end() == 0


def test_it_serves_nobody_after_a_command_that_left_something_running(shell: Shell) -> None:
    shell.give("sh", "-c", "sleep 60 & echo $!")
    shell.end()
    printed = os.read(shell.stdout.fileno(), 100)

    assert printed.strip().isdigit(), "it said that it is idle"
    os.kill(int(printed), signal.SIGKILL)


@pytest.mark.skipif(not Path("/usr/bin/setsid").exists(), reason="util-linux has setsid")
def test_nor_after_one_whose_child_in_another_session_holds_the_output(shell: Shell, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    shell.give("setsid", "sh", "-c", f"sleep 60 & echo $! > {note}")
    assert shell.end() == 0, "it waits for another command"

    os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_daemon_that_holds_nothing_of_it_is_no_hindrance(shell: Shell, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    marks, _ = shell.run("sh", "-c", f"setsid sh -c 'echo $$ > {note}; exec sleep 60' </dev/null >/dev/null 2>&1 &")
    # Whether it was seen in its old session or in its new one, the next command has a clean stream or another shell.
    assert marks[1] == Ended(0, oom=False)
    deadline = time.monotonic() + _PATIENCE
    while not note.exists() or not note.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_signal_to_the_group_ends_the_shell_with_the_command(shell: Shell) -> None:
    shell.give("sleep", "60")
    marks, _ = shell.until(bool)
    began = marks[0]
    assert isinstance(began, Began)
    assert began.group == shell.process.pid

    os.killpg(began.group, signal.SIGTERM)
    marks, _ = shell.until()
    assert marks == [Ended(143, oom=False)]
    assert shell.end() == 143


def test_a_program_that_is_not_there(shell: Shell) -> None:
    marks, _ = shell.run("no-such-program")

    assert marks[0] == Refused("missing", 127)


def test_input_goes_to_the_command_and_to_nobody_else(shell: Shell) -> None:
    shell.give("cat", stdin=True)
    shell.stdin.write(b"go\nn2 n\nset -- '-' '' '' touch /nonsense\n" + _TOKEN.encode() + b"\n")
    shell.stdin.close()
    _, printed = shell.until()

    assert printed == b"go\nn2 n\nset -- '-' '' '' touch /nonsense\nt0k3n\n"
    assert shell.end() == 0


_TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12) | st.binary(
    max_size=12
).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(_TEXT, max_size=4), env=st.dictionaries(st.from_regex(r"\AT_[A-Z]{1,4}\Z"), _TEXT, max_size=3))
def test_every_byte_but_nul_arrives(shell: Shell, words: list[str], env: Mapping[str, str]) -> None:
    _, printed = shell.run("sh", "-c", "printf '%s\\0' \"$@\"; env -0", "sh", *words, env=env)

    pieces = printed.split(b"\0")
    expected = [os.fsencode(word) for word in words] or [b""]
    assert pieces[: len(expected)] == expected
    assert {os.fsencode(f"{name}={value}") for name, value in env.items()} <= set(pieces)
