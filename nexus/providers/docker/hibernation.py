"""A workspace's containers, whose processes can be kept on the engine's disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from nexus.errors import NexusError
from nexus.models.instances import LABEL_SERVICE, InstanceState, Woken
from nexus.providers.docker.facts import Listed
from nexus.providers.docker.probing import between_tests
from nexus.providers.docker.process_keeping import bring_back, forget, is_kept, keep, nothing_runs
from nexus.providers.docker.served import ServedInstance
from nexus.providers.docker.shielding import finish
from nexus.providers.docker.trial import require

_PATIENCE: Final = 20.0
_LIMIT: Final = 3600.0
"""Seconds for all containers of a workspace: each writes its memory to the disk, or reads it."""
_BACK_LIMIT: Final = 1800.0
_RUNS: Final = frozenset({"running", "paused", "restarting"})


class HibernatingInstance(ServedInstance):
    """Implements ``SupportsHibernation`` on top of a workspace's containers.

    Services live in the network of the workspace's own container. So they are kept before it, and go on after it.
    """

    async def hibernate(self) -> None:
        """Keep the processes of all its containers, and end them; see :mod:`nexus.providers.docker.process_keeping`.

        Cancelled: it is carried out all the same.

        Raises:
            Unsupported: When the engine cannot, or not with what runs in them. They go on, frozen ones frozen.
            WorkspaceStopped: When nothing runs, and nothing is kept.
            WorkspaceGone: When it was removed.
        """

        async def act(number: str) -> None:
            await require(self._engine, self._shared.proof, number)
            await finish(self._hibernate(number), limit=_LIMIT)

        await self._act(act)

    async def _hibernate(self, number: str) -> None:
        frozen = (await self.status()).state is InstanceState.PAUSED
        if frozen:
            await self.resume_services()
            await self.resume()
        # Shells that wait for commands are not the workspace's own, and others are not to come while it is written.
        await self._shared.drop_pool(number)
        try:
            for listed in await self._listed():
                if listed.state in _RUNS:
                    await between_tests(self._engine, listed.id, self._shared.untested)
                    await self._alone(listed.id, keep(self._engine, listed.id))
            if not await self._alone(number, keep(self._engine, number)):
                raise nothing_runs(self._name)
        except NexusError as error:
            await finish(self._go_on(error, frozen=frozen), limit=_BACK_LIMIT)
            raise

    async def _alone(self, number: str, act: Awaitable[bool]) -> bool:
        async with self._shared.gate_of(number).alone(patience=_PATIENCE):
            return await act

    async def _go_on(self, error: NexusError, *, frozen: bool) -> None:
        """Have everything as it was: what was kept by then goes on."""
        for listed in await self._listed():
            lost = await bring_back(self._engine, listed.id) if await is_kept(self._engine, listed.id) else None
            if lost is not None:
                error.add_note(f"and service {_service(listed)!r} did not go on: {lost}")
        if frozen:
            try:
                await self.pause_services()
                await self.pause()
            except NexusError as left:
                error.add_note(f"and {self._name!r} could not be paused again: {left.message}")

    async def wake(self) -> Woken:
        """Let the processes of its containers go on, its own first, then those of its services at once.

        Cancelled: it is carried out all the same.

        Raises:
            WorkspaceGone: When it was removed.
        """
        woken: list[Woken] = []

        async def act(number: str) -> None:
            woken.append(await finish(self._wake(number), limit=_LIMIT))

        await self._act(act)
        return woken[0]

    async def _wake(self, number: str) -> Woken:
        services = [listed for listed in await self._listed() if await is_kept(self._engine, listed.id)]
        reason = await bring_back(self._engine, number)
        if reason is not None:
            for listed in services:
                await forget(self._engine, listed.id)
            return Woken(lost={"": reason, **{_service(listed): reason for listed in services}})
        ends = await asyncio.gather(*(bring_back(self._engine, listed.id) for listed in services))
        return Woken(
            lost={_service(listed): end for listed, end in zip(services, ends, strict=True) if end is not None}
        )

    async def forget(self) -> None:
        """Remove what is kept of its processes, and of those of its services."""
        for number in (await self._container(), *(listed.id for listed in await self._listed())):
            await forget(self._engine, number)  # nothing is kept of what is gone


def _service(listed: Listed) -> str:
    return (listed.labels or {}).get(LABEL_SERVICE, "")
