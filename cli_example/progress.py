"""How a long step moves on: bars where a person watches, lines where somebody asked for them, else nothing. Standard error only."""

# ruff: noqa: PLC0415 - what not every command needs is imported when it runs, so that help is quick

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from cli_example.render import clean, is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Reporter(Protocol):
    """What the library calls; see ``nexus.abc.ProgressCallback``."""

    def __call__(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        """Take one report."""


@contextmanager
def reporting(*, verbose: bool) -> Generator[tuple[Reporter, Callable[[], None], Callable[[], None]], None, None]:
    """Give what takes the reports, what clears the screen of them at once, and what shows them again."""
    if is_terminal(sys.stderr):
        with _bars() as bars:
            yield _Bars(bars), bars.stop, bars.start
    else:
        yield (_Lines() if verbose else _silent), _nothing, _nothing


def _nothing() -> None:
    """Do nothing: lines stay where they are."""


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[step]:<9}", markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    # The bars must never take lines that go to a pipe for their own, so standard output is not redirected.
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task("", step=clean(step), total=None)
        self._bars.update(self._tasks[step], description=clean(message), completed=done or 0, total=total)


class _Lines:
    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def __call__(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        ended = total is not None and done == total
        if self._last.get(step) != message or ended:
            self._last[step] = message
            amount = f" ({done}/{total})" if ended else ""
            sys.stderr.write(f"{clean(step)}: {clean(message)}{amount}\n")


def _silent(step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
    """Take a report and say nothing."""
