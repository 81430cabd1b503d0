"""One start of all services of a workspace: each after what it depends on, and watched until others may count on it."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import anyio

from nexus.abc import Instance, ProcessHandle, ProgressCallback, SupportsServices
from nexus.errors import ExecError, NexusError, ServiceFailed
from nexus.models.execution import ExecEvent, Exited, Output, SpawnRequest
from nexus.models.services import ServiceSpec, ServiceStatus
from nexus.models.workspace import WorkspaceRecord
from nexus.workspace.at_once import for_each
from nexus.workspace.context import Context
from nexus.workspace.environment import service_environment
from nexus.workspace.services_plan import awaited_to_end, judge, listeners, surplus
from nexus.workspace.withholding import withheld, withheld_from

HEALTH_TIMEOUT: Final = 300.0
"""Seconds that a service may take to become healthy."""
LISTEN_TIMEOUT: Final = 60.0
"""Seconds that a service which nobody tests may take to listen on its ports; it counts as started then all the same."""
_POLL: Final = 0.05
_SLOW_POLL: Final = 0.5
"""Seconds between two looks, at first and in the end."""
_LOG_LINES: Final = 20
_LOG_TIMEOUT: Final = 5.0
_TABLES: Final = ("cat", "/proc/net/tcp", "/proc/net/tcp6")


class Start:
    """One start of all services: who waits for whom, and what has become of each."""

    def __init__(
        self,
        context: Context,
        record: WorkspaceRecord,
        served: SupportsServices,
        instance: Instance,
        report: ProgressCallback,
    ) -> None:
        self._context = context
        self._record = record
        self._served = served
        self._instance = instance
        self._report = report
        self._to_end = awaited_to_end(record.services)
        self._started = {service.name: anyio.Event() for service in record.services}
        self._ready = {service.name: anyio.Event() for service in record.services}

    async def run(self) -> None:
        """Have all of them running and ready; what should not be there any more goes first.

        Raises:
            ServiceFailed: When one cannot be started, ends, or does not become healthy.
        """
        for name in surplus(self._record.services, await self._served.services()):
            await self._served.remove_service(name)
        await for_each(self._bring, self._record.services)

    async def _bring(self, service: ServiceSpec) -> None:
        hidden = withheld(self._context.repository, self._context.settings)
        prepared = await self._served.prepare_service(withheld_from(service, hidden), progress=self._report)
        for other, condition in service.depends_on.items():
            await (self._started if condition == "service_started" else self._ready)[other].wait()
        plain, secrets = await service_environment(self._context, self._record, service)
        self._report("services", f"starting {service.name}")
        await self._served.start_service(prepared.model_copy(update={"env": plain}), secrets=secrets)
        self._started[service.name].set()
        await self._wait(service)
        self._ready[service.name].set()

    async def _wait(self, service: ServiceSpec) -> None:
        """Wait until others may count on it."""
        begun, reason, listens, pause = anyio.current_time(), "", True, _POLL
        to_end = service.name in self._to_end
        # Work that others wait for may take as long as it takes; whoever waits can cancel.
        while to_end or anyio.current_time() - begun < HEALTH_TIMEOUT:
            status = await self._status(service.name)
            tested = status is not None and status.health is not None
            listening = await self._listening() if listens and service.ports and not tested else None
            seen = judge(
                service,
                status,
                to_end=to_end,
                listening=listening,
                mappings=self._record.port_mappings,
            )
            if seen.verdict == "ready":
                self._report("services", f"{service.name} is up")
                return
            if seen.verdict == "failed":
                raise await self._failed(service, seen.reason)
            reason = seen.reason
            if listens and not tested and anyio.current_time() - begun > LISTEN_TIMEOUT:
                self._report("services", f"{service.name} {reason}; going on without")
                listens = False
            await anyio.sleep(pause)
            pause = min(1.5 * pause, _SLOW_POLL)
        raise await self._failed(service, f"{reason}, {HEALTH_TIMEOUT:g} s after its start")

    async def _status(self, name: str) -> ServiceStatus | None:
        return next((status for status in await self._served.services() if status.name == name), None)

    async def _listening(self) -> frozenset[int] | None:
        """Return the ports that are listened on beside the workspace; ``None`` where no program inside can say."""
        try:
            process = await self._instance.spawn(SpawnRequest(argv=_TABLES, timeout=_LOG_TIMEOUT))
        except ExecError:
            return None
        table, code = await _read(process)
        return listeners(table) if code is not None else None

    async def _failed(self, service: ServiceSpec, reason: str) -> ServiceFailed:
        tail = await self._tail(service.name)
        said = f"; it printed last: {tail[-1]}" if tail else ""
        return ServiceFailed(
            f"service {service.name!r} {reason}{said}",
            service=service.name,
            log_tail=tail,
            hint="its last lines are in the details; see its image, command, env and healthcheck",
        )

    async def _tail(self, name: str) -> tuple[str, ...]:
        text = bytearray()
        with anyio.move_on_after(_LOG_TIMEOUT):
            try:
                async with aclosing(self._served.service_logs(name, tail=_LOG_LINES)) as chunks:
                    async for chunk in chunks:
                        text += chunk
            except NexusError:
                return ()
        lines = text.decode("utf-8", "replace").splitlines()
        return tuple("".join(c if c.isprintable() else "?" for c in line) for line in lines[-_LOG_LINES:])


async def _read(process: ProcessHandle) -> tuple[str, int | None]:
    """Return what a short command printed, and its status."""
    text = bytearray()
    try:
        while True:
            event: ExecEvent = await process.receive()
            if isinstance(event, Output):
                text += event.data
            elif isinstance(event, Exited):
                return text.decode("ascii", "replace"), event.exit_code
    finally:
        await process.aclose()
