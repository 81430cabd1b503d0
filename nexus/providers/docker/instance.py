"""One workspace's container: what is run in it, and what is seen of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Final

import aiohttp
from anyio.abc import ByteStream
from pydantic import SecretStr

from nexus.abc import ProcessHandle
from nexus.errors import ExecStartError, NexusError, ProviderUnavailable, WorkspaceGone, WorkspaceStopped
from nexus.models.activity import Listener, RunningCommand
from nexus.models.execution import Exited, Output, SpawnRequest, Stream
from nexus.models.instances import (
    InstanceState,
    ResourceStats,
)
from nexus.providers.docker.client import parse
from nexus.providers.docker.exec_stream import FrameDecoder
from nexus.providers.docker.facts import (
    HostConfig,
    status_of,
)
from nexus.providers.docker.failures import EngineRefused, not_running
from nexus.providers.docker.finding import find_container
from nexus.providers.docker.living import LivingContainer
from nexus.providers.docker.reaching import reach
from nexus.providers.docker.secret_files import FOLDER, write_files
from nexus.providers.docker.spawning import spawn
from nexus.providers.docker.usage import Counters, stats_of
from nexus.providers.docker.watching import TABLES, listeners_on_host, running_commands, without_resolver
from nexus.providers.listening import listeners_in

_SETTLING: Final = 2.0
"""Seconds in which the engine learns by itself that a container which it has resumed is no longer paused."""
_SETTLING_PAUSE: Final = 0.02
_LOOK_DEADLINE: Final = 10.0
_LARGEST_TABLE: Final = 4 * 1024 * 1024


class DockerInstance(LivingContainer):
    """A workspace in a container.

    Args:
        shared: The provider's parts.
        ref: Which workspace.
    """

    async def spawn(self, request: SpawnRequest) -> ProcessHandle:
        """Start a command; see :func:`nexus.providers.docker.spawning.spawn`.

        An image without ``/bin/sh``, and a variable whose name no shell passes on, are run by the engine alone. Such a command
        can be signalled only when the engine runs on this host.

        Raises:
            ExecStartError: When the program is not there (127) or cannot be executed (126), or the folder is missing.
            WorkspaceStopped: When the container does not run, or is paused.
            WorkspaceGone: When it was removed.
        """
        place = await self._find_place()
        until = self._resumed_at + _SETTLING
        while True:
            try:
                return await spawn(self._shared.site(place), request)
            except EngineRefused as exc:
                # For a moment the engine may go on taking what was resumed for paused.
                if "is paused" not in exc.text or asyncio.get_running_loop().time() > until:
                    raise await self._explain(exc) from exc
            await asyncio.sleep(_SETTLING_PAUSE)

    def secret_path(self, name: str) -> str:
        """Return where a secret of this name is found inside."""
        return f"{FOLDER}/{name}"

    async def write_secrets(self, files: Mapping[str, SecretStr]) -> None:
        """Write secrets into the container's memory; see :mod:`nexus.providers.docker.secret_files`.

        Raises:
            WorkspaceStopped: When the container does not run, or is paused.
            Unsupported: When it has no folder in memory, or no shell.
            SecretError: When one could not be written.
        """
        await write_files(self.spawn, files, workspace=self._name)

    async def _explain(self, refusal: EngineRefused) -> NexusError:
        stopped = not_running(refusal, self._name)
        if stopped is not None:
            return stopped
        match (await self.status()).state:
            case InstanceState.GONE:
                return self._gone()
            case InstanceState.STOPPED | InstanceState.FAILED:
                return self._stopped()
            case _:
                return refusal

    async def commands(self) -> tuple[RunningCommand, ...]:
        """Return the commands that run now, by the engine's own list: also those that other programs have started.

        Raises:
            ProviderUnavailable: When the engine cannot be asked.
        """
        found = await find_container(self._engine, self._ref)
        if found is None or status_of(found).state is not InstanceState.RUNNING:
            return ()
        return await running_commands(self._engine, found.id, found.exec_ids or ())

    async def listeners(self) -> tuple[Listener, ...] | None:
        """Return where programs in it listen.

        Read from this host's view of the container's network; where the engine is elsewhere, by ``cat`` inside, if it has one.

        Raises:
            ProviderUnavailable: When the engine cannot be asked.
        """
        found = await find_container(self._engine, self._ref)
        if found is None or status_of(found).state is not InstanceState.RUNNING:
            return ()
        seen = await listeners_on_host(found.state.pid, found.id)
        return await self._listeners_inside() if seen is None else seen

    async def connect(self, port: int) -> ByteStream:
        """Connect to a TCP port of the container, by its own address or from inside; see :mod:`nexus.providers.docker.reaching`.

        Raises:
            PortNotOpen: When nothing accepts connections there.
            WorkspaceStopped: When the container does not run, or is paused.
            WorkspaceGone: When it was removed.
            Unsupported: When it is open to programs inside only, and none of them can connect.
        """
        found = await find_container(self._engine, self._ref)
        if found is None:
            raise self._gone()
        if status_of(found).state is not InstanceState.RUNNING:
            raise self._stopped()
        return await reach(
            port,
            listeners=await self.listeners(),
            attachments=(found.network_settings.networks or {}).values(),
            spawn=self.spawn,
            workspace=self._name,
        )

    async def _listeners_inside(self) -> tuple[Listener, ...] | None:
        request = SpawnRequest(argv=("cat", *TABLES), timeout=_LOOK_DEADLINE, keeps_awake=False)
        text = bytearray()
        try:
            process = await self.spawn(request)
            try:
                while not isinstance(event := await process.receive(), Exited):
                    if isinstance(event, Output) and event.stream is Stream.STDOUT and len(text) < _LARGEST_TABLE:
                        text += event.data
            finally:
                await process.aclose()
        except (ExecStartError, WorkspaceStopped, WorkspaceGone):
            return None
        return without_resolver(listeners_in([text.decode("ascii", "replace")]))

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes, None]:
        """Give what the container's main process printed, in chunks.

        Args:
            follow: Go on until the container ends.
            tail: Only the last lines, this many.

        Raises:
            WorkspaceGone: When it was removed.
        """
        number = await self._container()
        params = {
            "stdout": "1",
            "stderr": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if tail is None else str(max(0, tail)),
        }
        decoder = FrameDecoder()
        try:
            async with self._engine.stream(
                "read the log", "GET", f"containers/{number}/logs", params=params, deadline=None if follow else 60.0
            ) as reply:
                async for piece in reply.content.iter_any():
                    for _, data in decoder.feed(piece):
                        yield data
        except EngineRefused as exc:
            if exc.status == 404:
                raise self._gone() from exc
            raise
        except ProviderUnavailable as exc:
            # A container that is removed while it is followed ends the log without the proper end of the reply.
            if not (follow and isinstance(exc.__cause__, aiohttp.ClientPayloadError)):
                raise

    async def stats(self) -> ResourceStats:
        """Return what it uses now; the processor's share is that since the previous call on this provider.

        Raises:
            WorkspaceStopped: When it does not run.
            WorkspaceGone: When it was removed.
        """
        number = await self._container()
        params = {"stream": "false", "one-shot": "true"}
        try:
            async with self._engine.stream(
                "count what is used", "GET", f"containers/{number}/stats", params=params
            ) as reply:
                counters = parse(Counters, await reply.json(content_type=None))
        except EngineRefused as exc:
            raise await self._explain(exc) from exc
        if counters.empty:
            raise self._stopped()
        now = asyncio.get_running_loop().time()
        stats, self._shared.readings[number] = stats_of(counters, now, self._shared.readings.get(number))
        found = await find_container(self._engine, self._ref)
        limits = found.host_config if found is not None else HostConfig()
        return stats.model_copy(update={"cpu_limit": limits.cores, "processes_limit": limits.processes})
