"""The backends of one open repository: each opened when it is first needed, and its instances kept with what they have learned."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from functools import partial

import anyio

from nexus import abc
from nexus.config import Settings
from nexus.errors import NexusError
from nexus.models.ids import WorkspaceId
from nexus.models.instances import Capability, InstanceRef, InstanceState, InstanceStatus, ProviderInfo
from nexus.models.workspace import WorkspaceRecord
from nexus.providers.registry import ProviderRegistry
from nexus.workspace.records import provider_options, reference


class Backends:
    """Opens providers and attaches to instances.

    Args:
        installed: The backends to choose from.
        settings: How each is configured.
    """

    def __init__(self, installed: ProviderRegistry, settings: Settings) -> None:
        self._installed = installed
        self._settings = settings
        self._open: dict[str, abc.Provider] = {}
        self._capabilities: dict[str, frozenset[Capability]] = {}
        self._instances: dict[WorkspaceId, tuple[str | None, abc.Instance]] = {}
        # One for each: whoever needs one backend does not wait for the driver of another, or for its silence.
        self._opening: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._closing = AsyncExitStack()

    def names(self) -> tuple[str, ...]:
        """Return what there is to choose from."""
        return self._installed.names()

    def differing(self, settings: Settings) -> tuple[str, ...]:
        """Return the backends that are open and configured otherwise by these settings, by name."""
        return tuple(
            name
            for name in sorted(self._open)
            if provider_options(settings, name) != provider_options(self._settings, name)
        )

    def adopt(self, settings: Settings) -> None:
        """Go by these settings from now on; none that is open is among the :meth:`differing`."""
        self._settings = settings

    async def provider(self, name: str) -> abc.Provider:
        """Return the provider of a backend, opened on first use.

        Raises:
            ProviderNotFound: When none is registered under this name or its driver is not installed.
        """
        async with self._opening[name]:
            if name not in self._open:
                # In a thread: importing a driver takes long enough to be felt by everything else on the loop.
                load = partial(self._installed.load, name, provider_options(self._settings, name))
                provider = await anyio.to_thread.run_sync(load)
                self._open[name] = await self._closing.enter_async_context(provider)
            return self._open[name]

    # What they can do -----------------------------------------------------------------------------------------------

    async def probe(self, name: str) -> ProviderInfo:
        """Return what a backend is and can do now; what it can do is remembered.

        Raises:
            ProviderNotFound: When none is registered under this name or its driver is not installed.
        """
        info = await (await self.provider(name)).probe()
        if info.available:
            self._capabilities[name] = info.capabilities
        return info

    async def learn(self, name: str) -> None:
        """Have it remembered what a backend can do, if it answers."""
        if name not in self._capabilities:
            with suppress(NexusError):
                await self.probe(name)

    def known_capabilities(self, name: str) -> frozenset[Capability] | None:
        """Return what a backend has said that it can do; ``None`` when it has not been asked, or has not answered."""
        return self._capabilities.get(name)

    def has_tree_here(self, name: str) -> bool:
        """Return whether a backend's work trees are on this host; so they are as long as nothing else is known."""
        return Capability.HOST_TREE in self._capabilities.get(name, {Capability.HOST_TREE})

    def stop_grace(self, name: str) -> float:
        """Return the seconds between TERM and KILL that the configuration gives this backend's workspaces."""
        grace = self._settings.backends.get(name, {}).get("stop_grace")
        return float(grace) if isinstance(grace, int | float) else 10.0

    # Their instances ------------------------------------------------------------------------------------------------

    async def instance(self, record: WorkspaceRecord) -> abc.Instance:
        """Return a record's instance; nothing is started and nobody is asked.

        It is kept: an instance remembers what it has learned of its place, so the next command need not ask again.
        """
        known = self.known_instance(record)
        if known is not None:
            return known
        provider = await self.provider(record.backend)
        instance = await provider.attach(reference(record))
        self._instances[record.id] = (record.container_id, instance)
        return instance

    def known_instance(self, record: WorkspaceRecord) -> abc.Instance | None:
        """Return a record's instance where it is at hand already."""
        known = self._instances.get(record.id)
        return known[1] if known is not None and known[0] == record.container_id else None

    async def seen(self, record: WorkspaceRecord) -> InstanceStatus:
        """Return what the provider sees of a record's instance; ``UNKNOWN`` where it cannot be asked."""
        try:
            instance = await self.instance(record)
            return await instance.status()
        except NexusError as error:
            return InstanceStatus(ref=InstanceRef(id=record.id), state=InstanceState.UNKNOWN, detail=error.message)

    def forget(self, record: WorkspaceRecord) -> None:
        """Let go of the instance of a workspace that is destroyed."""
        self._instances.pop(record.id, None)

    async def aclose(self) -> None:
        """Close the providers. What runs goes on running."""
        self._open.clear()
        self._instances.clear()
        await self._closing.aclose()
