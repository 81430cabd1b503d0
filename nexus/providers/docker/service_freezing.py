"""Freezing the containers of a workspace's services, and letting them go on, all at once.

Which containers those are is asked only where it is not known, or is not so any more: an engine looks through all that it has for an
answer, and a switch would wait for that first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final, Literal

from nexus.models.instances import LABEL_SERVICE
from nexus.providers.docker.facts import Listed
from nexus.providers.docker.failures import EngineRefused
from nexus.providers.docker.pausing import freeze, goes_on, thaw, thaw_if_frozen
from nexus.providers.docker.probing import between_tests
from nexus.providers.docker.shared import Shared

_PATIENCE: Final = 20.0

Act = Callable[[str], Awaitable[bool]]
"""Does something to a container, and returns whether that settles what becomes of it."""


class ServiceFreezer:
    """Freezes and thaws the services of one workspace.

    Args:
        shared: The provider's parts.
        look: Lists the containers of all of its services.
    """

    def __init__(self, shared: Shared, look: Callable[[], Awaitable[list[Listed]]]) -> None:
        self._shared = shared
        self._look = look
        self._known: dict[str, str] = {}

    def note(self, listed: Iterable[Listed]) -> None:
        """Note which containers there are, all of them, by their services."""
        self._known = {(each.labels or {}).get(LABEL_SERVICE, ""): each.id for each in listed}

    def forget(self) -> None:
        """Have them looked for again: one was made, or removed."""
        self._known = {}

    async def freeze(self, names: Collection[str] | None) -> None:
        """Freeze those that run. ``names`` are the services that there are, where the caller knows it."""
        await self._each(names, self._freeze, "running", self._freeze)

    async def thaw(self, names: Collection[str] | None) -> None:
        """Let those go on that are frozen."""
        await self._each(names, self._thaw_if_frozen, "paused", self.let_go)

    async def _each(
        self, names: Collection[str] | None, quickly: Act, state: Literal["running", "paused"], surely: Act
    ) -> None:
        done: frozenset[str] = frozenset()
        if names is not None and self._known.keys() >= set(names):
            known = tuple(self._known.values())
            done = await _at_once(quickly, known)
            if len(done) == len(known):
                return
        # One was made anew by another process, is between two starts, or has ended: what the engine says of all of them counts.
        await _at_once(surely, [one.id for one in await self._look() if one.state == state and one.id not in done])

    async def let_go(self, number: str) -> bool:
        """Let one container go on that is frozen."""
        return await _settles(thaw(self._shared.engine, number, doing="unpause a service"))

    async def _thaw_if_frozen(self, number: str) -> bool:
        return await _settles(thaw_if_frozen(self._shared.engine, number, doing="unpause a service"))

    async def _freeze(self, number: str) -> bool:
        async with self._shared.gate_of(number).alone(patience=_PATIENCE):
            return await _settles(self._freeze_between_tests(number))

    async def _freeze_between_tests(self, number: str) -> None:
        await between_tests(self._shared.engine, number, self._shared.untested)
        await freeze(self._shared.engine, number, doing="pause a service")


async def _settles(act: Awaitable[bool | None]) -> bool:
    """Return whether it was done, or need not be; ``False`` where the container is not there, or not up, just now."""
    try:
        return await act is not False
    except EngineRefused as refusal:
        if refusal.status == 404 or "is restarting" in refusal.text:
            return False
        # One that has ended by itself meanwhile needs no freezing.
        if "is not running" not in refusal.text and not goes_on(refusal):
            raise
        return True


async def _at_once(act: Act, numbers: Collection[str]) -> frozenset[str]:
    """Do something to containers, all of them to the end, and return those that it settles; the first error is raised then."""
    ends = await asyncio.gather(*map(act, numbers), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return frozenset(number for number, end in zip(numbers, ends, strict=True) if end)
