"""When the engine tests a service's health next, so that its container is not frozen while a test is being started in it.

A test is a program that the engine starts by itself, so :mod:`nexus.providers.docker.freezing` knows nothing of it, and the harm of
freezing at that moment is the same. The engine tells when the last test ended; the next one follows after the interval.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from nexus.providers.docker.client import Answer, Engine

_BEFORE: Final = timedelta(seconds=0.25)
"""How far ahead of a test nothing is frozen: as long as it may take from this look to the freezing."""
_AFTER: Final = timedelta(seconds=1.5)
"""How long after its moment a test may still be starting, on a busy machine."""
_LOOK: Final = 0.05
_LOOKS: Final = 40
"""One that is tested several times in a second leaves no moment that is surely clear."""


class _Test(Answer):
    end: datetime | None = None


class _Health(Answer):
    log: tuple[_Test, ...] | None = None


class _State(Answer):
    started_at: datetime | None = None
    health: _Health | None = None


class _Check(Answer):
    interval: int = 0


class _Config(Answer):
    healthcheck: _Check | None = None


class HealthSeen(Answer):
    """A container, as far as its tests are concerned."""

    state: _State = _State()
    config: _Config = _Config()

    @property
    def next_test(self) -> datetime | None:
        """When the engine starts the next test; ``None`` when it tests nothing."""
        health, check = self.state.health, self.config.healthcheck
        if health is None or check is None:
            return None
        ends = [test.end for test in health.log or () if test.end is not None]
        last = max(ends, default=self.state.started_at)
        # The engine's own default, where nothing is said.
        interval = timedelta(microseconds=check.interval / 1000) if check.interval else timedelta(seconds=30)
        return None if last is None else last + interval

    @property
    def never(self) -> bool:
        """Whether the engine tests nothing of it, which is settled when a container is made."""
        return self.config.healthcheck is None

    def may_be_starting(self, now: datetime) -> bool:
        """Return whether a test is being started about now."""
        moment = self.next_test
        return moment is not None and moment - _BEFORE <= now <= moment + _AFTER


async def between_tests(engine: Engine, number: str, untested: set[str]) -> None:
    """Return when no test is being started in a container; at once for one that is not tested.

    Waits for two seconds at most. An engine elsewhere has a clock of its own, so there nothing is waited for.

    Args:
        engine: The engine.
        number: The container.
        untested: The containers that are known never to be tested; it is added when that turns out.
    """
    if engine.endpoint.kind != "unix" or number in untested:
        return
    for _ in range(_LOOKS):
        async with engine.door("look at a service") as docker:
            raw = await docker.containers.container(number).show()
        try:
            tested = HealthSeen.model_validate(raw)
        except ValidationError:
            tested = HealthSeen(
                config=_Config(healthcheck=_Check())
            )  # times that cannot be read are no reason not to freeze
        if tested.never:
            untested.add(number)
        if not tested.may_be_starting(datetime.now(UTC)):
            return
        await asyncio.sleep(_LOOK)
