"""Work that is done once, however often it is asked for: what outlives the connection that it was asked on."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from nexus.abc.provider import ProgressCallback
from nexus.errors import Conflict

KEPT_SECONDS: Final = 24 * 3600.0
KEPT_MOST: Final = 4096

T = TypeVar("T")
Report: TypeAlias = ProgressCallback


@dataclass(slots=True)
class Work(Generic[T]):
    """One piece of work."""

    fingerprint: object
    """What was asked for: another request with the same key is a mistake."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)
    at: float = 0.0
    """When it ended."""
    value: list[T] = field(default_factory=list)
    error: BaseException | None = None
    reports: set[Report] = field(default_factory=set)
    """Told how it moves on: everybody who waits for it."""

    def progress(self, step: str, message: str, done: int | None = None, total: int | None = None, /) -> None:
        """Tell everybody who waits."""
        for report in tuple(self.reports):
            report(step, message, done, total)


class KeyedWork:
    """The work that is on its way, and the outcomes of what was done lately.

    Args:
        group: Where work runs: it ends with the daemon, not with a connection.
    """

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._known: OrderedDict[tuple[str, str, str], Work[object]] = OrderedDict()
        self._unnamed = itertools.count()

    def __len__(self) -> int:
        return sum(1 for work in self._known.values() if not work.ended.is_set())

    async def do(
        self,
        key: tuple[str, str, str | None],
        fingerprint: object,
        act: Callable[[Work[T]], Awaitable[T]],
        *,
        report: Report | None,
        unwanted: Callable[[], bool],
    ) -> T:
        """Do it, or join whoever does it already, or return what came of it.

        Args:
            key: Who asks, the method, and the key that they chose; with ``None`` it is never the same as anything else.
            fingerprint: What is asked for.
            act: Does it.
            report: Told how it moves on.
            unwanted: Asked when this call is cancelled: whether the work is not wanted any more, or only the connection is lost.

        Raises:
            Conflict: When the key was used for something else.

        Cancellation: work that is unwanted is cancelled too, and has ended when the call returns; otherwise it goes on.
        """
        work = self._find(key, fingerprint) or self._begin(key, fingerprint, act)
        if report is not None:
            work.reports.add(report)
        try:
            await work.ended.wait()
        except anyio.get_cancelled_exc_class():
            if unwanted():
                work.scope.cancel()
                with anyio.CancelScope(shield=True):
                    await work.ended.wait()
            raise
        finally:
            if report is not None:
                work.reports.discard(report)
        if work.error is not None:
            raise work.error
        return work.value[0]

    def _find(self, key: tuple[str, str, str | None], fingerprint: object) -> Work[T] | None:
        subject, method, name = key
        if name is None:
            return None
        self._forget(anyio.current_time())
        work = self._known.get((subject, method, name))
        if work is None:
            return None
        if work.fingerprint != fingerprint:
            raise Conflict(
                f"the key {name!r} was used for another {method}", hint="use another key for each thing to be done"
            )
        return work  # type: ignore[return-value] # the same method has the same result

    def _begin(
        self, key: tuple[str, str, str | None], fingerprint: object, act: Callable[[Work[T]], Awaitable[T]]
    ) -> Work[T]:
        subject, method, name = key
        work: Work[T] = Work(fingerprint)
        place = (subject, method, name if name is not None else f"\0{next(self._unnamed)}")
        self._known[place] = work  # type: ignore[assignment] # read back by those who know its type
        self._group.start_soon(self._run, place, work, act)
        return work

    async def _run(self, place: tuple[str, str, str], work: Work[T], act: Callable[[Work[T]], Awaitable[T]]) -> None:
        try:
            with work.scope:
                work.value.append(await act(work))
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            work.error = error
        finally:
            if not work.value and work.error is None:
                work.error = Conflict("this was cancelled before it was done", hint="ask again with another key")
            work.at = anyio.current_time()
            work.ended.set()
            if place[2].startswith("\0") or work.scope.cancel_called:
                self._known.pop(place, None)

    def _forget(self, now: float) -> None:
        """Drop outcomes that are old, and the oldest where there are too many. Work on its way stays."""
        for place, work in list(self._known.items()):
            if len(self._known) <= KEPT_MOST and not (work.ended.is_set() and now - work.at > KEPT_SECONDS):
                break
            if work.ended.is_set():
                del self._known[place]
