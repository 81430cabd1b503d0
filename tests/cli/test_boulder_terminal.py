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
from pathlib import Path

import pytest

from cli_example.attached import key
from tests.cli.conftest import Boulder, a_daemon

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


@pytest.fixture(params=["by-itself", "through-a-daemon"])
def seat(
    request: pytest.FixtureRequest, bare: Boulder, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Boulder]:
    """``boulder`` with a running workspace ``a``: it does the work itself, or a daemon does and is seen to."""
    monkeypatch.setenv("NEXUS_BACKEND", "local")
    env = {"NEXUS_BACKEND": "local"}
    if request.param == "by-itself":
        seat = Boulder(bare.cwd, ("--no-daemon",), env)
        seat("ws", "create", "a")
        yield seat
        seat("ws", "destroy", "a", "--force")
        return
    with a_daemon(bare.cwd, home) as visits:
        seat = Boulder(bare.cwd, (), env)
        seat("ws", "create", "a")
        yield seat
        before = visits()
        assert before > 5
        seat("ws", "destroy", "a", "--force")
        assert visits() == before + 1


def test_a_terminal_is_left_and_found_again(seat: Boulder) -> None:
    with on_screen(seat, "ws", "terminal", "open", "a", "--name", "mine", "--", "sh") as screen:
        screen.type(b"stty size; printf 'le%s\\n' ft\n")
        assert b"33 101" in screen.until(b"left\r\n")
        screen.type(b"\x1d")
        screen.until(b"boulder ws terminal attach a tm_")
        assert screen.end() == 0
        assert termios.tcgetattr(screen.slave) == screen.before
    listed = seat("ws", "terminal", "list", "a", "--json").json
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    assert (listed[0]["name"], listed[0]["controller"]) == ("mine", None)
    with on_screen(seat, "ws", "terminal", "attach", "a", "mine") as screen:
        screen.until(b"left\r\n")
        screen.type(b"exit 4\n")
        assert screen.end() == 4
    seat("ws", "terminal", "rename", "a", "mine", "yours")
    assert "yours" in seat("ws", "terminal", "list", "a").text
    seat("ws", "terminal", "kill", "a", "yours")
    assert seat("ws", "terminal", "list", "a", "--json").json == []
    missing = seat("ws", "terminal", "attach", "a", "yours", ok=False)
    assert missing.status != 0
    assert missing.err.startswith("error[NOT_FOUND]")


def test_keys_are_named_as_people_name_them() -> None:
    assert (key("ctrl-]"), key("ctrl-q"), key("Ctrl-A")) == (b"\x1d", b"\x11", b"\x01")
    with pytest.raises(Exception, match="no control key"):
        key("escape")
