"""Counts what a process changes outside of itself, and kills it right before the n-th change, or at a step of its journal.

Seen are: files opened for writing (before, and once more when they are there and still empty), written, renamed, linked, removed,
truncated; folders made and removed; programs started; connections to a workspace's keeper; transactions of the registry; requests
to the engine, and their answers. The notes about who holds a lock are left out: nothing depends on them.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest.mock import patch

_EVENTS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_UNSEEN = ("/dev/", "/proc/", "/sys/")


class Tracer:
    """Installed once, in a process that is to die.

    Args:
        log: Descriptor that everything is written to, one line each: ``effect`` or ``step``.
        at: The number of the effect that does not happen any more; 0 for none.
        step: The step of the journal to die at.
        moment: ``begun``, ``acted`` or ``written``.
    """

    def __init__(self, log: int, *, at: int, step: str | None, moment: str | None) -> None:
        self._log = log
        self._at = at
        self._step = step
        self._moment = moment
        self._count = 0
        self._guard = threading.Lock()
        self._write = os.write

    def install(self) -> None:
        self._trace_files()
        self._trace_registry()
        self._trace_engine()
        self._trace_journal()
        sys.addaudithook(self._audit)

    def effect(self, what: str) -> None:
        with self._guard:
            self._count += 1
            self._write(self._log, f"effect {what}\n".encode("utf-8", "replace"))
            if self._count == self._at:
                os.kill(os.getpid(), signal.SIGKILL)

    def step(self, name: str, moment: str) -> None:
        with self._guard:
            self._write(self._log, f"step {name} {moment}\n".encode())
        if name == self._step and moment == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & _WRITING and not _unseen(path):
                self.effect(f"open {_shown(path)}")
        elif event in _EVENTS and not any(_unseen(each) for each in args[:2]):
            self.effect(f"{event} {' '.join(_shown(each) for each in args[:2])}")

    def _trace_files(self) -> None:
        really_open, really_write, really_io = os.open, os.write, io.open

        def opened(path: Any, flags: int, *args: Any, **kept: Any) -> int:
            handle = really_open(path, flags, *args, **kept)
            if flags & os.O_CREAT and not _unseen(path):
                self.effect(f"opened {_shown(path)}")
            return handle

        def opened_file(file: Any, mode: str = "r", *args: Any, **kept: Any) -> Any:
            made = really_io(file, mode, *args, **kept)
            if set(mode) & set("wax+") and not isinstance(file, int) and not _unseen(file):
                self.effect(f"opened {_shown(file)}")
            return made

        def written(handle: int, data: Any) -> int:
            try:
                path = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - on the way of every write
            except OSError:
                path = ""
            # Pipes and event descriptors are how the loop wakes itself.
            if path.startswith("/") and not _unseen(path):
                self.effect(f"write {_shown(path)}")
            return really_write(handle, data)

        _put(os, open=opened, write=written)
        _put(io, open=opened_file)
        _put(builtins, open=opened_file)

    def _trace_registry(self) -> None:
        from nexus.state.database import Database

        really = Database.transact

        def transact(database: Database, work: Callable[..., Any]) -> Any:
            self.effect("registry")
            return really(database, work)

        _put(Database, transact=transact)

    def _trace_engine(self) -> None:
        import aiohttp

        really = aiohttp.ClientSession._request

        async def request(session: Any, method: str, url: Any, **kept: Any) -> Any:
            changes = method not in {"GET", "HEAD"}
            if changes:
                self.effect(f"engine {method} {str(url).partition('?')[0]}")
            answer = await really(session, method, url, **kept)
            if changes:
                self.effect(f"engine answered {method}")
            return answer

        _put(aiohttp.ClientSession, _request=request)

    def _trace_journal(self) -> None:
        from nexus.state import OpenJournal

        write, doing, done, close = OpenJournal.write, OpenJournal.doing, OpenJournal.done, OpenJournal.close
        trace = self

        def open_journal(journal: OpenJournal) -> None:
            write(journal)
            for name in ("journal", *journal.entry.started):
                trace.step(name, "begun")

        async def close_journal(journal: OpenJournal, *last: Any) -> None:
            await close(journal, *last)
            trace.step("journal", "written")

        async def begin(journal: OpenJournal, *names: str) -> None:
            await doing(journal, *names)
            for name in names:
                trace.step(name, "begun")

        async def end(
            journal: OpenJournal, name: str, facts: Mapping[str, Any] | None = None, *, then: Sequence[str] = ()
        ) -> None:
            trace.step(name, "acted")
            await done(journal, name, facts, then=then)
            trace.step(name, "written")
            for each in then:
                trace.step(each, "begun")

        _put(OpenJournal, write=open_journal, doing=begin, done=end, close=close_journal)


def _put(place: object, **others: object) -> None:
    """Put functions in the place of others, until the process ends."""
    for name, other in others.items():
        patch.object(place, name, other).start()


def _shown(path: object) -> str:
    text = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else str(path)
    return text.replace("\n", " ")[-80:]


def _unseen(path: object) -> bool:
    text = os.fsdecode(path) if isinstance(path, bytes | str | os.PathLike) else ""
    return text.startswith(_UNSEEN) or ".holder" in text or "/locks/" in text
