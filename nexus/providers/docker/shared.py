"""What the workspaces of one opened provider have in common."""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from nexus.providers.docker.ahead import UnderWay
from nexus.providers.docker.client import Engine
from nexus.providers.docker.freezing import StartGate
from nexus.providers.docker.options import DockerOptions
from nexus.providers.docker.prepared import ShellPool
from nexus.providers.docker.process import DockerProcess
from nexus.providers.docker.process_keeping import Proof
from nexus.providers.docker.spawning import Place, Site
from nexus.providers.docker.usage import Reading

_STARTING_AT_ONCE: Final = 16


class Shared:
    """What the instances of one opened provider have in common.

    Args:
        engine: The engine.
        options: The backend's settings.
    """

    def __init__(self, engine: Engine, options: DockerOptions) -> None:
        self.engine = engine
        self.options = options
        self.turn = asyncio.Semaphore(_STARTING_AT_ONCE)
        self.processes: set[DockerProcess] = set()
        self.readings: dict[str, Reading] = {}
        self.pools: dict[str, ShellPool] = {}
        self.untested: set[str] = set()
        """Containers whose health the engine never tests."""
        self.proof = Proof()
        self.ahead = UnderWay()
        self.made: set[str] = set()
        """Containers that were made here and not asked about since: nobody has to prove whose they are."""
        self._gates: dict[str, StartGate] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn_of(self, number: str) -> asyncio.Lock:
        """Return the lock under which things are made for one workspace. It lives as long as somebody holds or awaits it."""
        lock = self._turns.get(number)
        if lock is None:
            lock = self._turns[number] = asyncio.Lock()
        return lock

    def pool_of(self, container: str) -> ShellPool:
        """Return the prepared shells of a container."""
        pool = self.pools.get(container)
        if pool is None:
            size = self.options.prepared_shells
            pool = self.pools[container] = ShellPool(self.engine, container, self.gate_of(container), size)
        return pool

    def gate_of(self, container: str) -> StartGate:
        """Return what keeps a container from being frozen while something starts in it."""
        return self._gates.setdefault(container, StartGate())

    def site(self, place: Place) -> Site:
        """Return what starting commands there takes."""
        return Site(
            engine=self.engine,
            place=place,
            pool=self.pool_of(place.container),
            gate=self.gate_of(place.container),
            turn=self.turn,
            keep=self.processes.add,
            gone=self.processes.discard,
        )

    async def drop_pool(self, container: str) -> None:
        """End the shells that wait in a container, which stops or goes."""
        self._gates.pop(container, None)
        pool = self.pools.pop(container, None)
        if pool is not None:
            await pool.aclose()
