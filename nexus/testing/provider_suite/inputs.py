"""Cases about standard input."""

from __future__ import annotations

import anyio

from nexus.abc import ProcessHandle
from nexus.errors import StdinClosed
from nexus.models.execution import Exited, SpawnRequest
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.provider_suite.case import Check, case, finish, read_until


@case()
async def input_is_empty_unless_asked_for(check: Check) -> None:
    """Without ``stdin=True`` a command that reads finds the end at once, and writing to it raises ``StdinClosed``."""
    instance = await check.running()
    ran = await check.run(instance, SpawnRequest(argv=("cat",)))
    expect_equal((ran.stdout, ran.status), (b"", 0), "what cat printed, and its status")
    process = await check.spawn(instance, SpawnRequest(argv=("sleep", "300")))
    await expect_error(StdinClosed, lambda: process.write(b"x"), "writing to a command without input")


@case()
async def input_goes_both_ways(check: Check) -> None:
    """Input is echoed while the command runs; the end of the input leaves its output open; closing twice is fine."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("sh", "-c", "cat; echo end of input; exit 5"), stdin=True))
    await process.write(b"ping\n")
    await read_until(process, b"ping\n")
    await process.write(b"pong\n")
    await read_until(process, b"pong\n")
    await process.close_stdin()
    await process.close_stdin()
    await expect_error(StdinClosed, lambda: process.write(b"late"), "writing after the end of the input")
    seen = await read_until(process, b"end of input\n")
    expect_equal(seen, b"end of input\n", "what came after the end of the input")
    expect_equal((await _until_exited(process)).exit_code, 5, "the status")


async def _until_exited(process: ProcessHandle) -> Exited:
    """Take events until ``Exited``, and return it."""
    while True:
        event = await process.receive()
        if isinstance(event, Exited):
            return event


@case()
async def large_input_arrives_whole(check: Check) -> None:
    """Two mebibytes of all byte values go in and come out unchanged."""
    instance = await check.running()
    data = bytes(range(256)) * 8192
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True))

    async def write() -> None:
        for start in range(0, len(data), 100_000):
            await process.write(data[start : start + 100_000])
        await process.close_stdin()

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        ran = await finish(process)
    expect(ran.stdout == data, f"what came out is what went in ({len(ran.stdout)} of {len(data)} bytes)")


@case()
async def a_command_that_does_not_read(check: Check) -> None:
    """Writing to a command that has ended raises ``StdinClosed`` sooner or later, and its result is intact."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("sh", "-c", "echo bye; exit 3"), stdin=True))
    ran = await finish(process)
    expect_equal((ran.stdout, ran.status), (b"bye\n", 3), "output and status")

    async def write_on() -> None:
        for _ in range(64):
            await process.write(bytes(65536))

    await expect_error(StdinClosed, write_on, "writing to a command that has ended")


CASES = (
    input_is_empty_unless_asked_for,
    input_goes_both_ways,
    large_input_arrives_whole,
    a_command_that_does_not_read,
)
