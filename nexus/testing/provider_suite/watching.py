"""Cases about seeing what goes on inside, which not every provider can: running commands, programs that listen."""

from __future__ import annotations

import anyio

from nexus.abc import SupportsActivity, SupportsConnect, SupportsListening
from nexus.errors import PortNotOpen, WorkspaceStopped
from nexus.models.execution import Pty, SpawnRequest
from nexus.models.instances import Capability
from nexus.testing.expecting import eventually, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, NotApplicable, case, finish


@case()
async def running_commands_are_listed(check: Check) -> None:
    """``commands`` names what runs, by whichever client it was started, and forgets what has ended."""
    instance = await check.created()
    if not isinstance(instance, SupportsActivity):
        raise NotApplicable("its instances have no commands()")
    expect_equal(await instance.commands(), (), "the commands before the first start")
    await instance.start()
    busy = await check.spawn(instance, SpawnRequest(argv=("cat", "--", "-"), stdin=True))
    await check.spawn(instance, SpawnRequest(argv=("sleep", "300"), keeps_awake=False))
    other = await check.provider.attach(instance.ref)
    if not isinstance(other, SupportsActivity):
        raise NotApplicable("its attached instances have no commands()")
    seen = {(one.program, one.interactive, one.keeps_awake) for one in await other.commands()}
    expect_equal(seen, {("cat", False, True), ("sleep", False, False)}, "what runs, as another client sees it")
    await busy.close_stdin()
    await finish(busy)

    async def forgotten() -> bool:
        return [one.program for one in await other.commands()] == ["sleep"]

    await eventually(forgotten, "a command that has ended is no longer listed")
    await instance.stop(grace=1.0)
    expect_equal(await instance.commands(), (), "the commands of a stopped instance")


@case(Capability.PTY)
async def a_terminal_is_listed_as_one(check: Check) -> None:
    """``commands`` says which command has a terminal."""
    instance = await check.running()
    if not isinstance(instance, SupportsActivity):
        raise NotApplicable("its instances have no commands()")
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True, pty=Pty()))
    expect_equal([(one.program, one.interactive) for one in await instance.commands()], [("cat", True)], "what runs")
    await process.aclose()


@case(Capability.PORTS)
async def programs_that_listen_are_seen(check: Check) -> None:
    """``listeners`` names the port inside that a program listens on, and no longer when that has ended."""
    if check.subject.listener is None:
        raise NotApplicable("the subject has no program that listens")
    instance = await check.running()
    if not isinstance(instance, SupportsListening):
        raise NotApplicable("its instances have no listeners()")
    expect_equal(await _ports(instance), set(), "what listens before anything runs")
    process = await check.spawn(instance, SpawnRequest(argv=check.subject.listener(8080)))

    async def seen() -> bool:
        return 8080 in (await _ports(instance) or ())

    async def gone() -> bool:
        return await _ports(instance) == set()

    await eventually(seen, "the port is seen")
    await process.aclose()
    await eventually(gone, "the port is no longer seen")


@case(Capability.PORTS)
async def a_port_inside_is_connected_to(check: Check) -> None:
    """``connect`` reaches a program that listens inside; where nothing does it is ``PortNotOpen``, stopped ``WorkspaceStopped``."""
    if check.subject.listener is None:
        raise NotApplicable("the subject has no program that listens")
    instance = await check.running()
    if not isinstance(instance, SupportsConnect):
        raise NotApplicable("its instances have no connect()")
    await expect_error(PortNotOpen, lambda: instance.connect(8080), "connecting to a port on which nothing listens")
    await check.spawn(instance, SpawnRequest(argv=check.subject.listener(8080)))

    async def answered() -> bool:
        try:
            async with await instance.connect(8080) as stream:
                return await stream.receive() == b"here\n"
        except (PortNotOpen, anyio.EndOfStream):
            return False  # it is only beginning, or has just served somebody and begins again

    await eventually(answered, "the program is reached")
    await instance.stop(grace=1.0)
    await expect_error(WorkspaceStopped, lambda: instance.connect(8080), "connecting to a stopped instance")


async def _ports(instance: SupportsListening) -> set[int] | None:
    found = await instance.listeners()
    return None if found is None else {one.port for one in found}


CASES = (
    running_commands_are_listed,
    a_terminal_is_listed_as_one,
    programs_that_listen_are_seen,
    a_port_inside_is_connected_to,
)
