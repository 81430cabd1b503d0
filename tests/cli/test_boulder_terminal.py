"""``boulder ws terminal`` as a person uses it: on a real terminal, with a key that leaves the program running."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli_example.attached import key
from tests.cli.conftest import Boulder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Screen:
    """A terminal of ours, with ``boulder`` on it."""

    def __init__(self, boulder: Boulder, *words: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (33, 101))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            boulder.argv(*words),
            cwd=boulder.cwd,
            env=boulder.environment(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self.seen = b""

    def until(self, wanted: bytes) -> bytes:
        deadline = time.monotonic() + 60
        while wanted not in self.seen:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"{wanted!r} never came: {self.seen[-500:]!r}"
            self.seen += os.read(self.master, 65536)
        return self.seen

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def end(self) -> int:
        return self.process.wait(timeout=60)


@contextmanager
def on_screen(boulder: Boulder, *words: str) -> Iterator[Screen]:
    screen = Screen(boulder, *words)
    try:
        yield screen
    finally:
        if screen.process.poll() is None:
            screen.process.kill()
            screen.process.wait()
        os.close(screen.master)
        os.close(screen.slave)


def test_a_terminal_is_left_and_found_again(running: Boulder) -> None:
    with on_screen(running, "ws", "terminal", "open", "a", "--name", "mine", "--", "sh") as screen:
        screen.type(b"stty size; printf 'le%s\\n' ft\n")
        assert b"33 101" in screen.until(b"left\r\n")
        screen.type(b"\x1d")
        screen.until(b"boulder ws terminal attach a tm_")
        assert screen.end() == 0
        assert termios.tcgetattr(screen.slave) == screen.before
    listed = running("ws", "terminal", "list", "a", "--json").json
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    assert (listed[0]["name"], listed[0]["controller"]) == ("mine", None)
    with on_screen(running, "ws", "terminal", "attach", "a", "mine") as screen:
        screen.until(b"left\r\n")
        screen.type(b"exit 4\n")
        assert screen.end() == 4
    running("ws", "terminal", "rename", "a", "mine", "yours")
    assert "yours" in running("ws", "terminal", "list", "a").text
    running("ws", "terminal", "kill", "a", "yours")
    assert running("ws", "terminal", "list", "a", "--json").json == []
    missing = running("ws", "terminal", "attach", "a", "yours", ok=False)
    assert missing.status != 0
    assert missing.err.startswith("error[NOT_FOUND]")


def test_keys_are_named_as_people_name_them() -> None:
    assert (key("ctrl-]"), key("ctrl-q"), key("Ctrl-A")) == (b"\x1d", b"\x11", b"\x01")
    with pytest.raises(Exception, match="no control key"):
        key("escape")
