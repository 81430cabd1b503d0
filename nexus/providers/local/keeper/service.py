"""The keeper itself: takes requests, knows the commands, reaps the orphans, and ends when it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from nexus.masking import Masker
from nexus.providers.local.keeper import child, frames
from nexus.providers.local.keeper.backlog import Remains
from nexus.providers.local.keeper.command import Command, Terms
from nexus.providers.local.keeper.connection import Connection
from nexus.providers.local.keeper.door import Door
from nexus.providers.local.keeper.ending import Ending
from nexus.providers.local.keeper.freezer import Freezer
from nexus.providers.local.keeper.log import Log
from nexus.providers.local.keeper.loop import Loop
from nexus.providers.local.keeper.standing import Standing

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_GRACE: Final = 10.0
"""Seconds between TERM and KILL when the keeper itself gets TERM."""
_LOOK: Final = 30.0
"""Seconds between looks whether the workspace's folder is still there."""
_SHORTEST: Final = 4
"""Bytes that a value must have to be masked."""
_MOST: Final = 1000
"""Commands that are named to those who ask what runs."""
_REMAINS: Final = 16
"""Commands that have ended and can still be asked for; the oldest are forgotten."""
_FAREWELL: Final = 1.0
"""Seconds that those who read slowly still get at the end."""


class Keeper:
    """Stands beside one workspace until that is stopped.

    Args:
        folder: The workspace's own folder.
        path: Where to listen.
    """

    def __init__(self, folder: str, path: str) -> None:
        self._folder = folder
        self._log = Log(folder)
        self._loop = Loop(self._report)
        self._standing = Standing(folder, path)
        self._door = Door(self._loop, path, self._connected)
        self._freezer = Freezer(folder)
        self._ending = Ending(self._loop, self._reap, self._over, self._stuck)
        self._paused = False
        self._commands: dict[str, Command] = {}
        self._leaders: dict[int, Command] = {}
        self._remains: dict[str, Remains] = {}
        self._connections: set[Connection] = set()
        self._waiting_for_end: list[Connection] = []
        self._operations: Mapping[str, Callable[[Connection, Mapping[str, Json]], None]] = {
            "spawn": self._spawn,
            "signal": self._signal,
            "resize": self._resize,
            "end": self._end,
            "pause": self._pause,
            "resume": self._resume,
            "stop": self._stop,
            "commands": self._list_commands,
            "join": self._join,
            "kept": self._list_kept,
        }
        self._catch_signals()
        self._origin = child.Origin.now()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Serve until the workspace is stopped; ``on_ready`` is called once everybody can connect."""
        soft, hard = self._origin.files
        if soft != hard:
            child.raise_limit(hard)  # each command holds up to four descriptors here
        self._door.open()
        self._standing.write("running")
        self._log.line(f"started (process {os.getpid()})")
        on_ready()
        self._look_again()
        self._loop.run()

    def _look_again(self) -> None:
        self._loop.call_later(_LOOK, self._look_again)
        self._leave_if_forgotten()

    def _leave_if_forgotten(self) -> None:
        """Leave when somebody has removed the workspace's folder and nothing of it runs: nobody could find this process any more."""
        if not self._ending.begun and not os.path.isdir(self._folder) and self._reap():  # noqa: PTH112 - pathlib costs 5 ms
            self._begin_to_end(0)

    def _catch_signals(self) -> None:
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        self._wakeup = (receiver, sender)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: None)
        self._loop.watch(receiver.fileno(), select.EPOLLIN, self._signalled)

    def _signalled(self, _mask: int) -> None:
        numbers = frozenset(self._wakeup[0].recv(4096))
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._begin_to_end(_GRACE)
        if signal.SIGHUP in numbers and not self._ending.begun:
            self._door.open()
            self._leave_if_forgotten()
        self._reap()
        self._ending.check()

    def _reap(self) -> bool:
        """Take every child that has ended, commands and orphans; return whether none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            command = self._leaders.pop(pid, None)
            if command is not None:
                command.leader_ended(status)

    def _connected(self, peer: socket.socket) -> None:
        connection = Connection(self._loop, peer, self._requested)
        self._connections = {known for known in self._connections if not known.closed}
        self._connections.add(connection)

    def _requested(self, connection: Connection, kind: int, payload: bytes) -> None:
        try:
            request: dict[str, Json] = json.loads(payload) if kind == frames.REQUEST else {}
            operation = self._operations[str(request["op"])]
        except (ValueError, KeyError, TypeError):
            connection.close()
            return
        operation(connection, request)

    def _spawn(self, connection: Connection, request: Mapping[str, Json]) -> None:
        state = "stopping" if self._ending.begun else "paused" if self._paused else None
        if state is not None:
            _answer(connection, frames.REFUSED, {"stage": state, "errno": 0})
            return
        try:
            made = child.start(_order(request), self._origin)
        except child.NotStarted as error:
            _answer(connection, frames.REFUSED, {"stage": error.stage, "errno": error.number})
            return
        exec_id = str(request["exec_id"])
        timeout = request["timeout"]
        terms = Terms(
            timeout=None if timeout is None else _number(timeout),
            grace=_number(request["grace"]),
            masked=_masked(request),
            program=str(request.get("program", "")),
            keeps_awake=bool(request.get("keeps_awake", True)),
            keep=int(_number(request.get("keep", 0))),
        )
        connection.set_receiver(partial(self._fed, exec_id))
        command = Command(
            self._loop,
            self._log,
            connection,
            made,
            terms=terms,
            on_end=partial(self._ended, exec_id),
            let_die=self._freezer.let_die,
        )
        self._commands[exec_id] = self._leaders[made.pid] = command
        if made.stdin is not None and not request["stdin"]:
            command.end_input()  # a terminal that nobody will type on

    def _fed(self, exec_id: str, _connection: Connection, kind: int, payload: bytes) -> None:
        command = self._commands.get(exec_id)
        if command is not None:
            if kind == frames.STDIN:
                command.feed(payload)
            elif kind == frames.STDIN_END:
                command.end_input()

    def _join(self, connection: Connection, request: Mapping[str, Json]) -> None:
        """Give a connection what a kept command prints, from an offset on, or what one has left that ended meanwhile."""
        exec_id, offset = str(request["exec_id"]), int(_number(request["offset"]))
        command, remains = self._commands.get(exec_id), self._remains.get(exec_id)
        if command is not None and command.kept:
            connection.set_receiver(partial(self._fed, exec_id))
            command.join(connection, offset)
        elif remains is not None:
            begin, pieces = remains.backlog.since(offset)
            connection.send(frames.STARTED, json.dumps({"pid": remains.pid, "offset": begin}).encode("ascii"))
            for piece in pieces:
                connection.send(frames.STDOUT, piece)
            connection.send(frames.EXITED, remains.report)
            connection.finish()
        else:
            _answer(connection, frames.REFUSED, {"stage": "unknown", "errno": 0})

    def _list_kept(self, connection: Connection, _request: Mapping[str, Json]) -> None:
        running: list[Json] = [exec_id for exec_id, command in self._commands.items() if command.kept]
        _answer(connection, frames.REPLY, {"running": running, "ended": list(self._remains)})

    def _ended(self, exec_id: str, command: Command, sources: Mapping[int, Masker]) -> None:
        self._commands.pop(exec_id, None)
        remains = command.remains()
        if remains is not None:
            self._remains[exec_id] = remains
            while len(self._remains) > _REMAINS:
                del self._remains[next(iter(self._remains))]
        for source, masker in sources.items():
            self._loop.watch(source, select.EPOLLIN, partial(self._drain, source, masker))

    def _drain(self, source: int, masker: Masker, _mask: int) -> None:
        """Take what a background child prints once nobody listens, so that it neither blocks nor dies of it."""
        try:
            data = os.read(source, frames.CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._log.write(masker.feed(data) if data else masker.finish())
        if not data:
            self._loop.forget(source)
            os.close(source)

    def _signal(self, connection: Connection, request: Mapping[str, Json]) -> None:
        command = self._commands.get(str(request["exec_id"]))
        if command is not None:
            command.signal(int(_number(request["number"])))
        _answer(connection, frames.REPLY, {})

    def _resize(self, connection: Connection, request: Mapping[str, Json]) -> None:
        command = self._commands.get(str(request["exec_id"]))
        if command is not None:
            command.resize(int(_number(request["rows"])), int(_number(request["cols"])))
        _answer(connection, frames.REPLY, {})

    def _end(self, connection: Connection, request: Mapping[str, Json]) -> None:
        exec_id = str(request["exec_id"])
        self._remains.pop(exec_id, None)
        command = self._commands.get(exec_id)
        if command is not None:
            command.let_go()
        _answer(connection, frames.REPLY, {})

    def _pause(self, connection: Connection, _request: Mapping[str, Json]) -> None:
        if self._ending.begun:
            _answer(connection, frames.REFUSED, {"stage": "stopping"})
            return
        if not self._paused:
            how = self._freezer.freeze()
            self._paused = True
            for command in self._commands.values():
                command.pause()
            self._standing.write("paused")
            self._log.line(f"paused ({how})")
        _answer(connection, frames.REPLY, {})

    def _resume(self, connection: Connection, _request: Mapping[str, Json]) -> None:
        if self._ending.begun:
            _answer(connection, frames.REFUSED, {"stage": "stopping"})
            return
        if self._paused:
            self._paused = False
            for command in self._commands.values():
                command.resume()
            self._freezer.thaw()
            self._standing.write("running")
            self._log.line("resumed")
        _answer(connection, frames.REPLY, {})

    def _list_commands(self, connection: Connection, _request: Mapping[str, Json]) -> None:
        """Say which commands run: not what they left behind when they ended."""
        running: list[Json] = [
            {
                "program": command.terms.program,
                "interactive": command.terminal is not None,
                "keeps_awake": command.terms.keeps_awake,
            }
            for command in list(self._commands.values())[:_MOST]
        ]
        _answer(connection, frames.REPLY, {"commands": running})

    def _stop(self, connection: Connection, request: Mapping[str, Json]) -> None:
        self._waiting_for_end.append(connection)
        self._begin_to_end(_number(request["grace"]))

    def _begin_to_end(self, grace: float) -> None:
        if not self._ending.begun:
            self._log.line(f"stopping ({grace:g} s of grace)")
            with contextlib.suppress(OSError):  # the folder may be gone; its processes end all the same
                self._standing.write("stopping")
        self._ending.begin(grace)
        self._freezer.thaw()  # what was told to end while it was frozen does so as soon as it runs

    def _stuck(self, left: Sequence[int]) -> None:
        self._log.line(f"still there after KILL: {', '.join(map(str, left))}")
        for connection in self._waiting_for_end:
            _answer(connection, frames.REPLY, {"left": list(left)})
        self._waiting_for_end.clear()

    def _over(self) -> None:
        """Leave: nothing of the workspace runs any more. The socket goes first, then the file that names this keeper."""
        self._door.close()
        self._standing.remove()
        self._log.line("stopped")
        for connection in self._waiting_for_end:
            _answer(connection, frames.REPLY, {"left": []})
        self._loop.call_later(_FAREWELL, self._loop.leave)
        self._leave_when_idle()

    def _leave_when_idle(self) -> None:
        if not self._commands and all(connection.idle for connection in self._connections):
            self._loop.leave()
        else:
            self._loop.call_later(0.005, self._leave_when_idle)

    def _report(self, error: Exception) -> None:
        self._log.line("".join(traceback.format_exception(error)).rstrip())


def _order(request: Mapping[str, Json]) -> child.Order:
    argv, env, size = request["argv"], request["env"], request["size"]
    assert isinstance(argv, list)  # noqa: S101 - the other side is the same release, of the same user
    assert isinstance(env, dict)  # noqa: S101
    return child.Order(
        argv=[_bytes(part) for part in argv],
        cwd=_bytes(request["cwd"]),
        env={_bytes(key): _bytes(value) for key, value in env.items()},
        stdin=bool(request["stdin"]),
        size=(int(_number(size[0])), int(_number(size[1]))) if isinstance(size, list) else None,
    )


def _masked(request: Mapping[str, Json]) -> tuple[bytes, ...]:
    """Return the values that are kept out of the log; short ones would mask half of any text and tell themselves by it."""
    names, env = request["masked"], request["env"]
    assert isinstance(names, list)  # noqa: S101 - as above
    assert isinstance(env, dict)  # noqa: S101
    values = (_bytes(env[str(name)]) for name in names if name in env)
    return tuple(value for value in values if len(value) >= _SHORTEST)


def _bytes(value: Json) -> bytes:
    return str(value).encode("utf-8", "surrogateescape")


def _number(value: Json) -> float:
    assert isinstance(value, int | float)  # noqa: S101 - as above
    return value


def _answer(connection: Connection, kind: int, content: Mapping[str, Json]) -> None:
    connection.send(kind, json.dumps(content).encode("ascii"))
    connection.finish()
