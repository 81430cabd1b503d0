"""What happens: events, logs, numbers, ports."""

from __future__ import annotations

import anyio

from nexus.errors import InvalidArgument, WorkspaceNotFound
from nexus.models.checkpoints import ForkRequest
from nexus.models.events import CheckpointDeleted, CheckpointTaken, ForkMade, Restored, StatusChanged, WorkspaceEvent
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
async def checkpoints_are_told(check: ServiceCheck) -> None:
    """Whoever subscribes is told of checkpoints that are taken and deleted, of restores and of forks; of one for a fork alone, not."""
    one = await check.workspace()
    checkpoints = check.service.checkpoints(one.info)
    told: list[WorkspaceEvent] = []
    async with check.service.events() as events:
        mark = await checkpoints.create("before")
        done = await checkpoints.restore(mark)
        (fork,) = await check.service.fork(ForkRequest(workspace="one", names=("two",)))
        await checkpoints.delete(mark)
        with anyio.fail_after(20):
            async for event in events:
                if isinstance(event, CheckpointTaken | CheckpointDeleted | Restored | ForkMade):
                    expect_equal((event.workspace, event.name), (one.id, "one"), "whom it is about")
                    told.append(event)
                if isinstance(event, CheckpointDeleted):
                    break
    taken, kept, restored, forked, deleted = told
    expect(isinstance(taken, CheckpointTaken) and taken.checkpoint == mark, "the checkpoint is told")
    expect(isinstance(kept, CheckpointTaken) and kept.checkpoint == done.undo, "what the restore kept is told")
    expect(isinstance(restored, Restored), "the restore is told")
    if isinstance(restored, Restored):
        expect_equal((restored.checkpoint, restored.undo), (mark, done.undo.id), "what was restored")
    expect(isinstance(forked, ForkMade), "the fork is told")
    if isinstance(forked, ForkMade):
        made = fork.info and fork.info.id
        expect_equal((forked.fork, forked.fork_name), (made, "two"), "what was made")
    expect(isinstance(deleted, CheckpointDeleted) and deleted.checkpoint == mark, "the deletion is told")
    for name in ("one", "two"):
        await check.service.destroy(name, force=True)


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
