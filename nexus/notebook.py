"""Notebooks: tables of lists, live output and progress. Works on the loop that the notebook runs; nothing is patched.

::

    from nexus import notebook

    with notebook.progress("create") as report:
        ws = await nx.create("try-1", progress=report)
    done = await notebook.run(ws, "pytest", "-q")       # shown while it runs; the result comes back as from ws.exec
    notebook.Table(await nx.list())

Workspaces, results and ports show themselves. What is shown live is one output that is brought up to date ten times a second at most,
however much is printed: Jupyter drops what comes faster.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Final, Protocol, cast

from nexus.errors import Unsupported
from nexus.handles.workspace import Workspace
from nexus.models.activity import PortView
from nexus.models.display import CHARACTERS, Bundle, bundle, fields, last_lines, output, plain, table
from nexus.models.execution import ExecEvent, ExecResult, Output
from nexus.models.workspace import ListEntry, WorkspaceInfo

INTERVAL: Final = 0.1
"""Seconds between two times that one output is brought up to date."""


class _Handle(Protocol):
    def update(self, obj: Bundle, *, raw: bool) -> None: ...


class _Display(Protocol):
    def __call__(self, obj: Bundle, *, raw: bool, display_id: bool) -> _Handle: ...


class Live:
    """One output of a cell that is brought up to date, in the pace that notebooks can take.

    Args:
        draw: Gives what is to be seen now.

    Raises:
        Unsupported: When IPython is not installed.
    """

    def __init__(self, draw: Callable[[], Bundle]) -> None:
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | None = None
        self._shown = draw()
        self._handle = _display()(self._shown, raw=True, display_id=True)
        self._at = time.monotonic()

    def changed(self) -> None:
        """Have the output brought up to date: now, or as soon as it may be. To be called on the event loop."""
        if self._waiting is None:
            wait = max(0.0, self._at + INTERVAL - time.monotonic())
            self._waiting = self._loop.call_later(wait, self._update)

    def close(self) -> None:
        """Show how it ended. Nothing is shown after that."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._update()

    def _update(self) -> None:
        self._waiting = None
        now = self._draw()
        if now != self._shown:
            self._shown, self._at = now, time.monotonic()
            self._handle.update(now, raw=True)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show how a long step moves on; give what is to be passed as ``progress=``.

    Args:
        title: What is being done.
    """
    shown = Progress(title)
    try:
        yield shown
    except BaseException:
        shown.end("failed")
        raise
    shown.end("done")


class Progress:
    """A progress callback that shows the steps in a notebook. Made by :func:`progress`.

    Args:
        title: What is being done.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._steps: dict[str, str] = {}
        self._state = "…"
        self._begun = time.monotonic()
        self._live = Live(self._drawn)

    def __call__(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        """Take one report."""
        share = f" {done}/{total}" if done is not None and total else f" {done}" if done is not None else ""
        self._steps[step] = plain(message)[:300] + share
        self._live.changed()

    def end(self, state: str) -> None:
        """Show how it ended."""
        self._state = f"{state} in {time.monotonic() - self._begun:.1f} s"
        self._live.close()

    def _drawn(self) -> Bundle:
        caption = f"{self._title}: {self._state}"
        text = "\n".join([caption, *(f"  {step}: {message}" for step, message in self._steps.items())])
        return bundle(text, fields(caption, self._steps))


async def run(
    workspace: Workspace,
    *argv: str,
    timeout: float | timedelta | None = None,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = False,
) -> ExecResult:
    """Run a command to its end, and show what it prints while it runs. Otherwise as :meth:`nexus.Workspace.exec`.

    Args:
        workspace: Where.
        argv: The program and its arguments.
        timeout: Seconds until it is killed.
        cwd: Folder to run in.
        env: Added to the workspace's environment.
        check: Raise ``ExecFailed`` for a status other than zero.

    Returns:
        The status and the output.

    Cancellation: The command's process group is killed before the call returns.
    """
    async with _shown(" ".join(argv)) as seen:
        result = await workspace.exec(*argv, timeout=timeout, cwd=cwd, env=env, on_event=seen.take)
        seen.ended(result)
        return result.check() if check else result


class _Seen:
    """The end of what a command has printed by now."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._state = "runs"
        self._tail = bytearray()
        self._cut = False
        self.live = Live(self._drawn)

    def take(self, event: ExecEvent) -> None:
        if isinstance(event, Output):
            self._tail += event.data
            if len(self._tail) > 2 * CHARACTERS:
                del self._tail[:-CHARACTERS]
                self._cut = True
            self.live.changed()

    def ended(self, result: ExecResult) -> None:
        self._state = result.ending

    def stopped(self) -> None:
        if self._state == "runs":
            self._state = "ended"
        self.live.close()

    def _drawn(self) -> Bundle:
        text = self._tail.decode("utf-8", "replace")
        head = f"{self._head} — {self._state}"
        return bundle(f"{head}\n{last_lines(plain(text))[0]}", output(head, text, cut=self._cut))


@asynccontextmanager
async def _shown(head: str) -> AsyncGenerator[_Seen, None]:
    seen = _Seen(head)
    try:
        yield seen
    finally:
        seen.stopped()


class Table:
    """A list that shows itself as a table: workspaces, as ``list`` gives them, or ports, as ``list_ports`` does.

    Args:
        entries: The list.
        caption: What stands above it.
    """

    def __init__(self, entries: Sequence[ListEntry] | Sequence[PortView], *, caption: str = "") -> None:
        self._entries = tuple(entries)
        self._caption = caption

    def __repr__(self) -> str:
        return "\n".join("  ".join(row) for row in self._rows())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's own
        if self._entries and all(isinstance(entry, PortView) for entry in self._entries):
            columns: tuple[str, ...] = ("name", "port", "url", "listens", "note")
        else:
            columns = ("name", "status", "backend", "branch")
        return bundle(repr(self), table(self._caption, columns, self._rows()))

    def _rows(self) -> list[tuple[str, ...]]:
        return [_port(entry) if isinstance(entry, PortView) else _workspace(entry) for entry in self._entries]


def _port(view: PortView) -> tuple[str, ...]:
    listens = "?" if view.listening is None else "yes" if view.listening else "no"
    return (view.name or "", str(view.container_port), view.url or "", listens, view.note)


def _workspace(entry: ListEntry) -> tuple[str, ...]:
    if isinstance(entry, WorkspaceInfo):
        return (entry.name, str(entry.status), entry.backend, entry.branch)
    return (entry.name, str(getattr(entry, "status", "damaged")), str(getattr(entry, "backend", "")), "")


def _display() -> _Display:
    try:
        return cast("_Display", importlib.import_module("IPython.display").display)
    except ImportError as error:
        raise Unsupported(
            "live output needs IPython, which is not installed",
            hint="pip install ipython, or run this in a notebook",
            details={"capability": "notebook", "provider": None},
        ) from error
