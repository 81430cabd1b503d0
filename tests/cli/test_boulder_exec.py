"""``exec`` and ``shell``: bytes, statuses and signals go through as if the command ran here."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from cli_example.words import with_separator
from tests.cli.conftest import Boulder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EVERY_BYTE = bytes(range(256)) * 1024
WaitFor = Callable[[subprocess.Popen[bytes], bytes], bytes]


def test_bytes_go_through_unchanged_both_ways(boulder_anywhere: Boulder) -> None:
    boulder = boulder_anywhere
    boulder("ws", "up", "a")
    assert boulder("ws", "exec", "a", "cat", feed=EVERY_BYTE).out == EVERY_BYTE
    # An end of input reaches a command that still has something to say.
    assert boulder("ws", "exec", "a", "--", "sh", "-c", "wc -c; echo after", feed=b"12345").text.split() == [
        "5",
        "after",
    ]
    apart = boulder("ws", "exec", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 7", ok=False)
    assert (apart.status, apart.out, apart.err) == (7, b"out\n", "err\n")


def test_how_a_command_ended_is_how_boulder_ends(boulder_anywhere: Boulder) -> None:
    boulder = boulder_anywhere
    boulder("ws", "up", "a")
    missing = boulder("ws", "exec", "a", "--", "no-such-program", ok=False)
    assert (missing.status, missing.err.split(":")[0]) == (127, "error[EXEC_START_FAILED]")
    assert boulder("ws", "exec", "a", "--", "./README.md", ok=False).status == 126
    assert boulder("ws", "exec", "a", "--", "sh", "-c", "kill -9 $$", ok=False).status == 137
    late = boulder("ws", "exec", "a", "--timeout", "100ms", "--", "sleep", "60", ok=False)
    assert (late.status, late.out, late.err) == (124, b"", "")


def test_where_and_with_what_it_runs(running: Boulder) -> None:
    assert running("ws", "exec", "a", "--cwd", "src", "--", "sh", "-c", "basename $PWD").text == "src\n"
    running.env["FROM_HERE"] = "inherited"
    told = running(
        "ws",
        "exec",
        "a",
        "-e",
        "X=a=b",
        "-e",
        "FROM_HERE",
        "-e",
        "NOT_SET",
        "--",
        "sh",
        "-c",
        'echo "$X $FROM_HERE ${NOT_SET-unset}"',
    )
    assert told.text == "a=b inherited unset\n"
    wrong = running("ws", "exec", "a", "--cwd", "no/such/folder", "--", "pwd", ok=False)
    assert wrong.err.startswith("error[")
    assert wrong.status != 0


def test_the_words_of_the_command_are_its_own(running: Boulder) -> None:
    assert running("ws", "exec", "a", "echo", "--json", "-t", "--verbose", "--").text == "--json -t --verbose --\n"
    assert running("ws", "exec", "--cwd", "src", "a", "-e", "X=1", "sh", "-c", "echo $X").text == "1\n"
    assert running("ws", "exec", "a", "--", "--", ok=False).status == 127


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["a", "ls", "-t"], ["a", "--", "ls", "-t"]),
        (["a", "--", "ls", "-t"], ["a", "--", "ls", "-t"]),
        (["--cwd", "x", "a", "ls"], ["--cwd", "x", "a", "--", "ls"]),
        (["--cwd=x", "a", "ls"], ["--cwd=x", "a", "--", "ls"]),
        (["a", "-te", "K=V", "ls", "-l"], ["a", "-te", "K=V", "--", "ls", "-l"]),
        (["a", "-eK=V", "ls"], ["a", "-eK=V", "--", "ls"]),
        (["a", "-t", "-", "x"], ["a", "-t", "--", "-", "x"]),
        (["a"], ["a"]),
        (["a", "--cwd"], ["a", "--cwd"]),
        ([], []),
    ],
)
def test_where_the_command_begins(words: list[str], read: list[str]) -> None:
    assert with_separator(words, {"--cwd", "-e", "--env"}) == read


def test_an_ordinary_file_and_no_input_at_all(running: Boulder, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(EVERY_BYTE)
    with file.open("rb") as opened:
        process = running.start("ws", "exec", "a", "cat", stdin=opened.fileno())
        assert process.communicate()[0] == EVERY_BYTE
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *running.argv("ws", "exec", "a", "--", "sh", "-c", "cat; echo end")]
    ran = subprocess.run(closed, cwd=running.cwd, env=running.environment(), capture_output=True, check=True)
    assert ran.stdout == b"end\n"


def test_input_that_stays_open_does_not_hold_up_the_end(running: Boulder) -> None:
    process = running.start("ws", "exec", "a", "true", stdin=subprocess.PIPE)
    assert process.wait(timeout=30) == 0
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_goes_to_the_command_and_all_it_started(
    running: Boulder, wait_for: WaitFor, number: signal.Signals
) -> None:
    script = f"trap 'exit 9' {number.name[3:]}; sh -c 'echo $PPID $$; exec sleep 1000'; exit 8"
    process = running.start("ws", "exec", "a", "--", "sh", "-c", script)
    leader, child = wait_for(process, b"\n").split()
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == 9
    assert b"error[" not in err
    for pid in (child, leader):
        assert not _runs(int(pid))


def test_a_command_that_a_signal_ends_gives_its_number(running: Boulder, wait_for: WaitFor) -> None:
    process = running.start("ws", "exec", "a", "--", "sh", "-c", "echo ready; exec sleep 1000")
    wait_for(process, b"ready")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, b"")


def test_a_reader_that_goes_away_ends_the_command_quietly(running: Boulder, wait_for: WaitFor) -> None:
    process = running.start("ws", "exec", "a", "--", "sh", "-c", "echo $$; exec yes")
    pid = int(wait_for(process, b"\n").split()[0])
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141
    assert not _runs(pid)


def test_a_terminal_of_ones_own(running: Boulder) -> None:
    with _Terminal(
        running, "ws", "exec", "-t", "a", "--", "sh", "-c", "tty; stty size; read line; echo got-$line; kill -9 $$"
    ) as terminal:
        shown = terminal.until(b"24 80" if terminal.size == (24, 80) else b"40 100")
        assert b"/dev/" in shown
        terminal.resize(50, 120)
        terminal.type(b"hello\r")
        assert b"got-hello" in terminal.until(b"got-hello")
    assert terminal.status == 137
    assert terminal.is_as_before()


def test_keys_go_to_the_command_and_a_new_size_too(running: Boulder) -> None:
    script = "trap 'echo winch; stty size' WINCH; trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 1000 & wait; done"
    with _Terminal(running, "ws", "exec", "--tty", "a", "--", "sh", "-c", script) as terminal:
        terminal.until(b"ready")
        terminal.resize(50, 120)
        terminal.until(b"50 120")
        terminal.type(b"\x03")
        terminal.until(b"caught")
    assert terminal.status == 3
    assert terminal.is_as_before()


def test_a_shell_reads_what_is_typed_and_what_is_piped(running: Boulder) -> None:
    assert running("ws", "shell", "a", feed=b"echo $NEXUS_WORKSPACE; exit 4\n", ok=False).text == "a\n"
    running.env["SHELL"] = "/bin/sh"
    with _Terminal(running, "ws", "shell", "a") as terminal:
        terminal.type(b"echo $((40 + 2)) && exit 5\r")
        terminal.until(b"42\r\n")
    assert terminal.status == 5


def test_the_log_of_what_is_not_there(running: Boulder) -> None:
    gone = running("ws", "logs", "nothing", ok=False)
    assert (gone.status, gone.out, gone.err.split(":")[0]) == (4, b"", "error[WORKSPACE_NOT_FOUND]")
    assert running("ws", "logs", "a", "--tail", "0").out == b""


def test_following_a_log_ends_with_ctrl_c(running: Boulder, wait_for: WaitFor) -> None:
    process = running.start("ws", "logs", "a", "--follow")
    wait_for(process, b"\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, b"error[INTERRUPTED]: stopped by Ctrl-C\n")


def test_a_workspace_that_does_not_run_says_so(running: Boulder) -> None:
    running("ws", "down", "a")
    refused = running("ws", "exec", "a", "true", ok=False)
    assert (refused.status, refused.err.split(":")[0]) == (5, "error[WORKSPACE_STOPPED]")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
    except OSError:
        return False


class _Terminal:
    """``boulder`` on a terminal, as a person has it."""

    size = (40, 100)

    def __init__(self, boulder: Boulder, *words: str) -> None:
        self.master, self._slave = pty.openpty()
        self._set_size(*self.size)
        self._before = termios.tcgetattr(self._slave)
        self._process = subprocess.Popen(
            boulder.argv(*words),
            cwd=boulder.cwd,
            env={**boulder.environment(), "TERM": "xterm"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
        )
        self.status: int | None = None
        self._now: list[object] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        self.status = self._process.wait()
        self._now = termios.tcgetattr(self._slave)
        os.close(self.master)
        os.close(self._slave)

    def is_as_before(self) -> bool:
        return self._now == self._before

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def resize(self, rows: int, cols: int) -> None:
        self._set_size(rows, cols)
        self._process.send_signal(signal.SIGWINCH)

    def until(self, wanted: bytes) -> bytes:
        seen = b""
        while wanted not in seen:
            seen += os.read(self.master, 65536)
        return seen

    def _set_size(self, rows: int, cols: int) -> None:
        termios.tcsetwinsize(self.master, (rows, cols))
