"""What happens: events, logs, numbers, ports."""

from __future__ import annotations

import anyio

from nexus.errors import InvalidArgument, WorkspaceNotFound
from nexus.models.events import StatusChanged
from nexus.models.workspace import WorkspaceStatus
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.service_suite.case import ServiceCase, ServiceCheck, case


@case
async def events_are_told(check: ServiceCheck) -> None:
    """Whoever subscribes is told of what happens from then on, in its order."""
    one = await check.workspace()
    async with check.service.events() as events, check.service.events() as others:
        await one.pause()
        await one.resume()
        for each in (events, others):
            seen: list[WorkspaceStatus] = []
            with anyio.fail_after(20):
                async for event in each:
                    if isinstance(event, StatusChanged):
                        expect_equal((event.workspace, event.name), (one.id, "one"), "whom it is about")
                        seen.append(event.status)
                    if len(seen) == 2:
                        break
            expect_equal(seen, [WorkspaceStatus.PAUSED, WorkspaceStatus.RUNNING], "what happened")


@case
async def logs_and_numbers_are_told(check: ServiceCheck) -> None:
    """The log of a workspace is given, and what it uses."""
    one = await check.workspace()
    chunks = [chunk async for chunk in one.logs(tail=10)]
    expect(all(isinstance(chunk, bytes) for chunk in chunks), "the log is bytes")
    stats = await one.stats()
    expect(stats.model_dump(), "what it uses is told")

    async def read() -> None:
        async for _ in check.service.logs("absent"):
            pass

    await expect_error(WorkspaceNotFound, read, "the log of what is not there")


@case
async def ports_are_told(check: ServiceCheck) -> None:
    """Ports are listed, and one on which nothing listens says so."""
    one = await check.workspace()
    await one.list_ports()
    await expect_error(InvalidArgument, lambda: check.service.wait_port(one.id, 8080, timeout=-1), "a wrong time")
    await expect_error(TimeoutError, lambda: check.service.wait_port(one.id, 59_999, timeout=0.2), "no listener")


CASES = tuple(each for each in tuple(globals().values()) if isinstance(each, ServiceCase))
