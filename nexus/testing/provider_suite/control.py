"""Cases about how commands end: signals, time limits, letting go, background children, slow and impatient readers."""

from __future__ import annotations

import signal

import anyio

from nexus.abc import ProcessHandle
from nexus.models.execution import Exited, Output, SpawnRequest
from nexus.models.instances import Capability
from nexus.testing.expecting import expect, expect_equal
from nexus.testing.provider_suite.case import Check, case, finish, read_until, shell

_FAMILY = "sleep 300 & echo $$ $!; echo ready; wait"
"""A shell and its child: prints both numbers."""


async def _numbers(process: ProcessHandle) -> bytes:
    return (await read_until(process, b"ready\n")).removesuffix(b"ready\n")


@case(Capability.SIGNALS)
async def signals_end_a_command(check: Check) -> None:
    """INT, TERM and KILL end a command, and its status is 128 + n."""
    instance = await check.running()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        process = await check.spawn(instance, shell("echo ready; exec sleep 300"))
        await read_until(process, b"ready\n")
        await process.signal(number)
        exited = (await finish(process)).exited
        expect_equal(exited.exit_code, 128 + number, f"the status after {number.name}")
        expect(exited.signal in {None, number}, f"the signal is {number.name} where it is known: {exited}")
        expect(not exited.timed_out, "a signal is no time-out")


@case(Capability.SIGNALS)
async def a_signal_reaches_the_whole_group(check: Check) -> None:
    """A signal reaches the command's children too."""
    instance = await check.running()
    process = await check.spawn(instance, shell(_FAMILY))
    numbers = await _numbers(process)
    await process.signal(signal.SIGTERM)
    await finish(process)
    await check.expect_dead(instance, numbers)


@case(Capability.SIGNALS)
async def a_signal_can_be_caught(check: Check) -> None:
    """A command that catches a signal goes on and chooses its own status."""
    instance = await check.running()
    process = await check.spawn(
        instance, shell("trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    )
    await read_until(process, b"ready\n")
    await process.signal(signal.SIGTERM)
    ran = await finish(process)
    expect_equal((ran.stdout, ran.status), (b"caught\n", 9), "output and status")


@case(Capability.SIGNALS)
async def a_signal_after_the_end_is_fine(check: Check) -> None:
    """Signals, letting go and resizing after the end do nothing."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("true",)))
    await finish(process)
    await process.signal(signal.SIGTERM)
    await process.resize(10, 20)
    await process.close_stdin()
    await process.aclose()
    await process.aclose()


@case()
async def a_time_limit_ends_the_group(check: Check) -> None:
    """After ``timeout`` the whole group is ended, the output so far is given, and ``Exited`` says ``timed_out``."""
    instance = await check.running()
    request = SpawnRequest(argv=("sh", "-c", f"echo partial >&2; {_FAMILY}"), timeout=1.0, grace=0.5)
    ran = await check.run(instance, request)
    expect(ran.exited.timed_out, f"Exited says that the time was up: {ran.exited}")
    expect_equal(ran.stderr, b"partial\n", "the output until then")
    expect(ran.status != 0, f"the command did not succeed: {ran.exited}")
    await check.expect_dead(instance, ran.stdout.removesuffix(b"ready\n"))


@case()
async def a_time_limit_ends_the_stubborn(check: Check) -> None:
    """A command that ignores TERM is killed after ``grace``, with its children."""
    instance = await check.running()
    request = SpawnRequest(argv=("sh", "-c", f"trap '' TERM; {_FAMILY}"), timeout=1.0, grace=0.2)
    ran = await check.run(instance, request)
    expect(ran.exited.timed_out, f"Exited says that the time was up: {ran.exited}")
    expect_equal(ran.status, 128 + signal.SIGKILL, "the status")
    await check.expect_dead(instance, ran.stdout.removesuffix(b"ready\n"))


@case()
async def a_time_limit_does_not_touch_the_quick(check: Check) -> None:
    """A command that ends in time is not affected by its limit."""
    instance = await check.running()
    ran = await check.run(instance, SpawnRequest(argv=("sh", "-c", "echo quick; exit 4"), timeout=20.0))
    expect_equal(ran.stdout, b"quick\n", "the output")
    expect_equal(ran.exited, Exited(exit_code=4), "the end")


@case()
async def a_time_limit_needs_no_reader(check: Check) -> None:
    """The limit holds although nobody takes the output and the command is stuck in printing."""
    instance = await check.running()
    request = SpawnRequest(
        argv=("sh", "-c", f"echo $$ > pid.txt; head -c {check.subject.bulk} /dev/zero; echo late > late.txt"),
        timeout=1.0,
        grace=0.2,
    )
    process = await check.spawn(instance, request)
    await anyio.sleep(1.5)
    exited = (await finish(process)).exited
    expect(exited.timed_out, f"Exited says that the time was up: {exited}")
    await check.expect_dead(instance, (await check.sh(instance, "cat pid.txt")).stdout)


@case()
async def letting_go_ends_the_group(check: Check) -> None:
    """``aclose`` ends the command with its children, also one that ignores TERM; twice is fine."""
    instance = await check.running()
    for trap in ("", "trap '' TERM; "):
        process = await check.spawn(instance, SpawnRequest(argv=("sh", "-c", trap + _FAMILY), grace=0.2))
        numbers = await _numbers(process)
        await process.aclose()
        await process.aclose()
        await check.expect_dead(instance, numbers)


@case()
async def letting_go_when_cancelled(check: Check) -> None:
    """An ``aclose`` that is itself cancelled ends the command all the same."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("sh", "-c", _FAMILY), grace=0.2))
    numbers = await _numbers(process)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await process.aclose()
    await check.expect_dead(instance, numbers)


@case()
async def a_background_child_does_not_hold_the_end(check: Check) -> None:
    """A child that keeps the output open does not delay ``Exited``, and it lives on."""
    instance = await check.running()
    process = await check.spawn(instance, shell("sleep 300 & echo $!; exit 6"))
    # The contract says 250 ms; the rest of this limit is for slow machines. The child itself would take five minutes.
    with anyio.fail_after(10.0):
        ran = await finish(process)
    expect_equal(ran.status, 6, "the status")
    child = ran.stdout.decode().strip()
    expect(await check.alive(instance, child), "the background child lives on")
    await check.sh(instance, f"kill -9 {child}")


@case()
async def a_cancelled_receive_loses_nothing(check: Check) -> None:
    """Output that arrives around a cancelled ``receive`` is given by the next one."""
    instance = await check.running()
    process = await check.spawn(instance, SpawnRequest(argv=("cat",), stdin=True))
    seen = bytearray()
    wanted = bytearray()
    for number in range(200):
        line = f"line {number}\n".encode()
        wanted += line
        await process.write(line)
        with anyio.move_on_after(0.0005 * (number % 4)):
            event = await process.receive()
            seen += event.data if isinstance(event, Output) else b""
    await process.close_stdin()
    while not isinstance(event := await process.receive(), Exited):
        seen += event.data if isinstance(event, Output) else b""
    expect_equal(bytes(seen), bytes(wanted), "the output")


@case()
async def a_slow_reader_holds_the_writer(check: Check) -> None:
    """When nobody takes the output, the command waits: it cannot run ahead by more than small buffers. Then all of it comes."""
    instance = await check.running()
    bulk = check.subject.bulk
    process = await check.spawn(instance, shell(f"head -c {bulk} /dev/zero; echo done > done.txt; echo end >&2"))
    first = await process.receive()
    expect(isinstance(first, Output), f"output comes first, not {first}")
    for _ in range(5):
        written = await check.sh(instance, "test -e done.txt")
        expect_equal(
            written.status, 1, "the status of 'test -e', while nobody reads; the file shows that all was printed"
        )
    total = len(first.data) if isinstance(first, Output) else 0
    errors = b""
    while not isinstance(event := await process.receive(), Exited):
        if isinstance(event, Output) and event.stream == "stdout":
            expect(event.offset == total, f"offsets are without a gap: {event.offset} after {total} bytes")
            expect(not event.data.strip(b"\0"), "the bytes are those that were printed")
            total += len(event.data)
        elif isinstance(event, Output):
            errors += event.data
    expect_equal((total, errors, event.exit_code), (bulk, b"end\n", 0), "bytes, standard error and status")


CASES = (
    signals_end_a_command,
    a_signal_reaches_the_whole_group,
    a_signal_can_be_caught,
    a_signal_after_the_end_is_fine,
    a_time_limit_ends_the_group,
    a_time_limit_ends_the_stubborn,
    a_time_limit_does_not_touch_the_quick,
    a_time_limit_needs_no_reader,
    letting_go_ends_the_group,
    letting_go_when_cancelled,
    a_background_child_does_not_hold_the_end,
    a_cancelled_receive_loses_nothing,
    a_slow_reader_holds_the_writer,
)
