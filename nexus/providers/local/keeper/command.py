"""One command: its output on its way to whoever asked for it, its time limit, and the end of its whole group."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from nexus.masking import Masker
from nexus.providers.local.keeper import child, frames, tree
from nexus.providers.local.keeper.backlog import Backlog, Remains
from nexus.providers.local.keeper.connection import Connection
from nexus.providers.local.keeper.log import Log
from nexus.providers.local.keeper.loop import Loop, Timer
from nexus.providers.local.keeper.stdin import Stdin

LINGER: Final = 0.25
"""Seconds after the leader's end that a background child may still hold up the end by keeping a pipe open."""
HANG_UP_AGAIN: Final = 0.5
_TICK: Final = 0.02
_REOPENED: Final = 0.05
"""Seconds between looks at a terminal that no program has open."""
_MUCH: Final = 2048
"""Bytes of a terminal behind which there is probably more."""
_HELD: Final = 128 * 1024
"""More than the kernel holds of what was written to a terminal. It counts the first 4 KiB alone when it is asked how much that is."""
_UNKILLABLE: Final = 5.0
"""Seconds after KILL until the end is told although a process of the group (asleep in the kernel) is still there."""


class Terms(NamedTuple):
    """How a command ends when it does not end by itself."""

    timeout: float | None
    grace: float
    masked: tuple[bytes, ...] = ()
    """Values that are kept out of the log."""
    program: str = ""
    """Its name, for those who ask what runs."""
    keeps_awake: bool = True
    """Whether it counts as work."""
    keep: int = 0
    """Bytes of its output that are kept when its connection goes away; it runs on then. 0: it is ended."""


class Command:
    """A command that was started.

    It ends when its leader has ended and everything it printed was passed on; output of children that live on goes to the log
    from then on. When its connection goes away first, its group is ended; one that is kept runs on, and may be joined again.

    Args:
        loop: The keeper's loop.
        log: Where output goes that nobody takes.
        connection: Who asked.
        made: What was started.
        terms: When and how to end it.
        on_end: Called once with descriptors that background children still write to, and what masks each.
        let_die: Called with processes that were killed while the workspace is paused.
    """

    def __init__(
        self,
        loop: Loop,
        log: Log,
        connection: Connection,
        made: child.Child,
        *,
        terms: Terms,
        on_end: Callable[[Command, Mapping[int, Masker]], None],
        let_die: Callable[[Sequence[tree.Process]], None],
    ) -> None:
        self.pid = made.pid
        self.terminal = made.terminal
        self._loop = loop
        self._log = log
        self._connection = connection
        self._report = b""
        self._let_go = False
        self.terms = terms
        self._on_end = on_end
        self._let_die = let_die
        self._sources = dict(made.outputs)
        self._backlog = Backlog(terms.keep) if terms.keep and made.terminal is not None else None
        self._maskers = {source: Masker(terms.masked) for source in self._sources}
        self._left: dict[int, int] | None = None
        """After the leader's end and a while: how much of each pipe is still to be passed on."""
        self._status: int | None = None
        self._ending = False
        self._killing = False
        self._gave_up = False
        self._timed_out = False
        self._ended = False
        self._timers: list[Timer] = []
        self._limit = loop.call_later(terms.timeout, self._out_of_time) if terms.timeout is not None else None
        self._paused = False
        self._remaining: float | None = None
        self._tick: Timer | None = None
        self._stdin: Stdin | None = None
        if made.stdin is not None:
            self._stdin = Stdin(
                loop,
                made.stdin,
                terminal=made.terminal is not None,
                on_flow=lambda flowing: self._connection.listen(on=flowing),
                on_closed=self._no_more_input,
            )
        self._serve(connection, {"pid": made.pid})

    @property
    def kept(self) -> bool:
        """Whether it runs on without a connection."""
        return self._backlog is not None

    def join(self, connection: Connection, offset: int) -> None:
        """Give everything to this connection from now on, and what was printed since ``offset`` first. One before it is closed."""
        if self._backlog is None:
            return
        before = self._connection
        before.on_gone = before.on_room = None
        before.close()
        begin, pieces = self._backlog.since(offset)
        self._serve(connection, {"pid": self.pid, "offset": begin})
        for piece in pieces:
            connection.send(frames.STDOUT, piece)

    def let_go(self) -> None:
        """End its group for somebody who will not ask for it again."""
        self._let_go = True
        self.end()

    def remains(self) -> Remains | None:
        """Return what may still be asked for once it has ended; ``None`` when nobody will."""
        return None if self._backlog is None or self._let_go else Remains(self.pid, self._report, self._backlog)

    def _no_more_input(self) -> None:
        self._connection.turn_deaf()

    def _serve(self, connection: Connection, said: Mapping[str, int]) -> None:
        self._connection = connection
        connection.on_gone = self._left_alone
        connection.on_room = self._watch
        connection.send(frames.STARTED, json.dumps(said).encode("ascii"))
        self._watch()

    def feed(self, data: bytes) -> None:
        """Hand bytes to its standard input."""
        if self._stdin is not None:
            self._stdin.feed(data)

    def end_input(self) -> None:
        """Send end of file to its standard input."""
        if self._stdin is not None:
            self._stdin.end()

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size. Without a terminal: nothing."""
        if self.terminal is not None and not self._ended:
            child.resize(self.terminal, rows, columns)

    def signal(self, number: int) -> None:
        """Send a signal to its whole group."""
        if self._status is None:
            # Until it is waited for, the leader keeps the group's number from being given to anybody else.
            with contextlib.suppress(PermissionError):  # every member took another user's rights
                os.killpg(self.pid, number)
        else:
            for process in self._group():
                tree.send(process, number)

    def end(self) -> None:
        """End its group: TERM, and KILL after the grace. A command that has ended, or is being ended: nothing."""
        if self._status is not None or self._ending:
            return
        self._ending = True
        self.signal(signal.SIGTERM)
        if self.terminal is not None:
            self._hang_up()
        if not self._paused:
            self.signal(signal.SIGCONT)
        self._later(self.terms.grace, self._kill)

    def pause(self) -> None:
        """Stop the clock of its time limit."""
        self._paused = True
        if self._limit is not None and self._limit.live:
            self._limit.cancel()
            self._remaining = max(0.0, self._limit.remaining)

    def resume(self) -> None:
        """Let the clock of its time limit go on."""
        self._paused = False
        if self._remaining is not None and self._status is None:
            self._limit = self._loop.call_later(self._remaining, self._out_of_time)
        self._remaining = None

    def leader_ended(self, status: int) -> None:
        """Take the wait status of its leader."""
        self._status = status
        if self._limit is not None:
            self._limit.cancel()
        self._later(LINGER, self._measure)
        self._watch()
        self._settle()

    def _out_of_time(self) -> None:
        self._timed_out = not self._ending
        self.end()

    def _hang_up(self) -> None:
        """Say what closing a terminal says, since interactive shells ignore TERM, and say it again.

        Shells look for signals before they wait for a key, and one that comes in between goes unnoticed until the next.
        """
        if self._status is None and not self._killing:
            self.signal(signal.SIGHUP)
            self._later(HANG_UP_AGAIN, self._hang_up)

    def _left_alone(self) -> None:
        if self.kept:
            self._watch()
            return
        self.end()
        if self._stdin is not None:
            self._stdin.close()
        self._watch()
        self._settle()

    def _kill(self) -> None:
        self._killing = True
        self.signal(signal.SIGKILL)
        if self._paused:
            self._let_die(self._group())
        self._later(_UNKILLABLE, self._give_up)
        self._settle()

    def _give_up(self) -> None:
        self._gave_up = True
        self._settle()

    def _measure(self) -> None:
        """Pass on what is in the pipes by now, which holds all that the leader wrote, and nothing that comes later."""
        self._left = {
            source: (_HELD if _readable(source) else 0) if source == self.terminal else _waiting(source)
            for source in self._sources
        }
        self._watch()
        self._settle()

    def _watch(self) -> None:
        """Read from the pipes as long as the other side takes what comes out."""
        if self._ended:
            return
        for source in self._sources:
            if self._connection.room and (self._left is None or self._left[source]):
                self._loop.watch(source, select.EPOLLIN, partial(self._read, source))
            else:
                self._loop.forget(source)

    def _read(self, source: int, _mask: int) -> None:
        size = frames.CHUNK if self._left is None else min(frames.CHUNK, self._left[source])
        try:
            take = _screenful if source == self.terminal else os.read
            data = take(source, size) if size else b""
        except BlockingIOError:
            return
        except OSError:  # a terminal that no program has open says EIO
            if self._status is None:
                # Its leader may open it again; and closing it would send a hang-up to one that is just about to end.
                self._loop.forget(source)
                self._loop.call_later(_REOPENED, self._watch)
                return
            data = b""
        if size and not data:
            self._loop.forget(source)
            os.close(source)
            if rest := self._maskers[source].finish():
                self._log.write(rest)
            del self._sources[source]
            if source == self.terminal:
                self.terminal = None
        elif self._connection.closed and self._backlog is None:
            self._log.write(self._maskers[source].feed(data))
        else:
            if self._backlog is not None:
                self._backlog.append(data)
            self._connection.send(self._sources[source], data)
        if self._left is not None:
            left = self._left.get(source, 0) - len(data)
            self._left[source] = 0 if source == self.terminal and not _readable(source) else left
        self._watch()
        self._settle()

    def _settle(self) -> None:
        """Tell the end as soon as there is nothing left to wait for."""
        if self._status is None or self._ended:
            return
        if any(self._left is None or self._left[source] > 0 for source in self._sources):
            return
        if self._ending and not self._gave_up and (remaining := self._group()):
            if self._killing:
                for process in remaining:
                    tree.send(process, signal.SIGKILL)
            if self._tick is None or not self._tick.live:
                self._tick = self._loop.call_later(_TICK, self._settle)
            return
        self._finish(self._status)

    def _group(self) -> list[tree.Process]:
        """Return what lives of its group: descendants of this keeper, so a number given to strangers since then is no danger."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return []
        except PermissionError:
            pass  # a member took another user's rights
        return [p for p in tree.descendants(os.getpid()) if p.group == self.pid and not p.ended]

    def _finish(self, status: int) -> None:
        self._ended = True
        for timer in (*self._timers, self._tick, self._limit):
            if timer is not None:
                timer.cancel()
        if self._stdin is not None:
            self._stdin.close()
        for source in self._sources:
            self._loop.forget(source)
        code = os.waitstatus_to_exitcode(status)
        report = {
            "exit_code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else None,
            "timed_out": self._timed_out,
        }
        self._connection.on_gone = self._connection.on_room = None
        self._report = json.dumps(report).encode("ascii")
        self._connection.send(frames.EXITED, self._report)
        self._connection.finish()
        self._on_end(self, {source: self._maskers[source] for source in self._sources})

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(seconds, action))


def _screenful(terminal: int, size: int) -> bytes:
    """Return what a terminal has printed, at most ``size`` bytes; otherwise as ``os.read``, which gives 4 KiB at a time."""
    data = os.read(terminal, size)
    if len(data) < _MUCH:
        return data
    pieces, left = [data], size - len(data)
    with contextlib.suppress(OSError):  # the next call tells of it, when what there was is passed on
        while left > 0 and (data := os.read(terminal, left)):
            pieces.append(data)
            left -= len(data)
    return b"".join(pieces)


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(mask & select.POLLIN for _, mask in poll.poll(0))


def _waiting(descriptor: int) -> int:
    """Return how many bytes can be read at once."""
    count: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]
    return count
