"""Commands in workspaces."""

from __future__ import annotations

import anyio

from nexus.errors import (
    ExecFailed,
    ExecStartError,
    ExecTimeout,
    OutputLimitExceeded,
    StdinClosed,
    WorkspaceNotFound,
    WorkspaceStopped,
)
from nexus.models.execution import Exited, Output, OutputLimit, Pty, SpawnRequest, Started, Stream
from nexus.testing.expecting import eventually, expect, expect_equal, expect_error
from nexus.testing.service_suite.case import ServiceCase, ServiceCheck, case


@case
async def status_and_output_are_a_result(check: ServiceCheck) -> None:
    """A command's status and what it printed, stream by stream and in order, are its result."""
    one = await check.workspace()
    done = await one.shell("echo out; echo err >&2; exit 3")
    expect_equal((done.exit_code, done.stdout, done.stderr), (3, "out\n", "err\n"), "the result")
    failed = await expect_error(ExecFailed, lambda: one.shell("echo no; exit 4", check=True), "a status with check")
    result = failed.result if isinstance(failed, ExecFailed) else None
    expect(result is not None and result.stdout == "no\n", "the error holds the output")


@case
async def a_name_is_enough(check: ServiceCheck) -> None:
    """A command runs in a workspace of which only the name is known; one that is not there, or does not run, is told as usual."""
    one = await check.workspace()
    for known in (one.name, one.id):
        done = await check.service.commands(known).exec("echo", "here")
        expect_equal(done.stdout, "here\n", "what it printed")
    async with check.service.commands(one.name).spawn("cat", stdin=True) as process:
        await process.write_eof()
        expect_equal((await process.wait()).exit_code, 0, "the status of one that is worked with")
    await expect_error(
        WorkspaceNotFound, lambda: check.service.commands("nobody").exec("true"), "in one that is not there"
    )
    await one.stop()
    await expect_error(
        WorkspaceStopped, lambda: check.service.commands(one.name).exec("true"), "in one that is stopped"
    )
    await one.start()


@case
async def output_comes_in_the_order_of_its_arrival(check: ServiceCheck) -> None:
    """What both streams print is told in the order in which it came."""
    one = await check.workspace()
    script = "; ".join(f"echo o{i}; read x; echo e{i} >&2; read x" for i in range(1, 6))
    async with one.spawn("sh", "-c", script, stdin=True) as process:
        async for event in process:
            if isinstance(event, Output):  # no sooner does it print the next, however busy the machine
                await process.write("\n" * event.data.count(b"\n"))
        done = await process.wait()
    wanted = "".join(f"o{i}\ne{i}\n" for i in range(1, 6))
    expect_equal(done.output, wanted, "both streams together")


@case
async def bytes_are_bytes(check: ServiceCheck) -> None:
    """Output that is no text comes as it is; arguments keep line ends."""
    one = await check.workspace()
    done = await one.shell(r"printf '\000\377\n'")
    expect_equal(done.stdout_bytes, b"\0\xff\n", "the bytes")
    done = await one.exec("printf", "%s|", "a\nb", "", "ü")
    expect_equal(done.stdout, "a\nb||ü|", "the arguments")


@case
async def input_goes_in_whole(check: ServiceCheck) -> None:
    """Standard input arrives whole and ends; a command that does not read it is fine."""
    one = await check.workspace()
    data = bytes(range(256)) * 8192
    done = await one.exec("cat", input=data)
    expect_equal(len(done.stdout_bytes), len(data), "the size of what came back")
    expect(done.stdout_bytes == data, "it is what was given")
    done = await one.shell("exit 0", input=data)
    expect_equal(done.exit_code, 0, "the status of a command that reads nothing")
    done = await one.exec("cat")
    expect_equal(done.stdout_bytes, b"", "what a command without input reads")


@case
async def much_output_is_complete(check: ServiceCheck) -> None:
    """Output of any size arrives whole, and the middle of it is dropped only by the limit of the result."""
    one = await check.workspace()
    size = check.subject.bulk
    count = 0
    async with one.spawn("head", "-c", str(size), "/dev/zero") as process:
        async for event in process:
            if isinstance(event, Output):
                expect_equal(event.offset, count, "the offset")
                count += len(event.data)
    expect_equal((count, process.exit_code), (size, 0), "the bytes and the status")
    done = await one.exec("head", "-c", str(size), "/dev/zero", limit=OutputLimit(head=1000, tail=2000))
    lost = done.truncated[Stream.STDOUT]
    expect_equal((lost.total, lost.kept_head, lost.kept_tail), (size, 1000, 2000), "what is kept")


@case
async def a_limit_that_raises_ends_the_command(check: ServiceCheck) -> None:
    """A limit that says so ends the command, and the error holds what was kept."""
    one = await check.workspace()
    limit = OutputLimit(head=10, tail=10, on_exceed="raise")
    error = await expect_error(
        OutputLimitExceeded, lambda: one.shell("while :; do echo more; done", limit=limit), "too much output"
    )
    result = error.result if isinstance(error, OutputLimitExceeded) else None
    expect(result is not None and result.stdout_bytes.startswith(b"more\n"), "the error holds the beginning")


@case
async def a_time_limit_ends_the_command(check: ServiceCheck) -> None:
    """At its time limit a command is ended, and the error holds what it printed until then."""
    one = await check.workspace()
    error = await expect_error(
        ExecTimeout, lambda: one.shell("echo begun; sleep 60", timeout=1.0), "running out of time"
    )
    expect(isinstance(error, TimeoutError), "it is a TimeoutError as well")
    result = error.result if isinstance(error, ExecTimeout) else None
    expect(result is not None and result.stdout == "begun\n" and result.timed_out, "the error holds the output")


@case
async def what_cannot_be_started_says_so(check: ServiceCheck) -> None:
    """A program that is not there is an error with the status that a shell would give."""
    one = await check.workspace()
    error = await expect_error(ExecStartError, lambda: one.exec("no-such-program"), "a missing program")
    expect_equal(error.exit_code if isinstance(error, ExecStartError) else None, 127, "its status")
    await one.stop()
    await expect_error(WorkspaceStopped, lambda: one.exec("echo"), "a command in a stopped workspace")


@case
async def events_come_in_their_order(check: ServiceCheck) -> None:
    """``Started`` comes first, ``Exited`` last, and after it the events are at their end."""
    one = await check.workspace()
    handle = await check.service.spawn(one.id, SpawnRequest(argv=("sh", "-c", "echo a; exit 5")))
    events = []
    while True:
        try:
            events.append(await handle.receive())
        except anyio.EndOfStream:
            break
    await handle.aclose()
    expect(isinstance(events[0], Started), f"the first event is Started: {events[0]}")
    expect_equal(events[-1], Exited(exit_code=5), "the last event")
    expect_equal([event.data for event in events if isinstance(event, Output)], [b"a\n"], "the output")


@case
async def a_command_is_talked_to(check: ServiceCheck) -> None:
    """Input and output go back and forth while a command runs; the end of input is told."""
    one = await check.workspace()
    async with one.spawn("cat", stdin=True) as process:
        lines = process.lines()
        for word in ("one", "two", "three"):
            await process.write(f"{word}\n")
            expect_equal(await anext(lines), word, "the line that comes back")
        await process.write_eof()
        expect_equal((await process.wait()).exit_code, 0, "the status")
        await expect_error(StdinClosed, lambda: process.write("x"), "writing after the end")


@case
async def a_cancelled_read_loses_nothing(check: ServiceCheck) -> None:
    """A read that is cancelled is made up for by the next one."""
    one = await check.workspace()
    async with one.spawn("cat", stdin=True) as process:
        events = aiter(process)
        await anext(events)
        for word in (b"a", b"b", b"c"):
            with anyio.move_on_after(0.02):
                await anext(events)
                expect(False, "nothing was printed yet")
            await process.write(word)
            event = await anext(events)
            expect_equal(event.data if isinstance(event, Output) else event, word, "what was printed")


@case
async def signals_and_the_end_of_a_block(check: ServiceCheck) -> None:
    """A signal reaches the whole group, and leaving an owning block ends the command."""
    one = await check.workspace()
    async with one.spawn(
        "sh", "-c", "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    ) as process:
        printed = process.lines(merge=False)
        expect_equal(await anext(printed), (Stream.STDOUT, "ready"), "the first line")
        await process.signal(15)
        # A shell may tell of its child's end, too: on the other stream.
        later = [line async for stream, line in printed if stream is Stream.STDOUT]
        expect_equal(later, ["caught"], "what the handler printed")
        expect_equal((await process.wait()).exit_code, 7, "the status")
    async with one.spawn("sleep", "600", grace=0.5) as sleeper:
        await anext(aiter(sleeper))
    expect(sleeper.exit_code is None or sleeper.exit_code > 128, f"it was ended: {sleeper.exit_code}")


@case
async def a_cancelled_call_ends_its_command(check: ServiceCheck) -> None:
    """When the call is cancelled the command is ended before it returns."""
    one = await check.workspace()

    async def written() -> bool:
        return await one.fs.exists("pid") and (await one.fs.read_text("pid")).endswith("\n")

    async with anyio.create_task_group() as group:
        group.start_soon(one.shell, "echo $$ > pid; sleep 600")
        await eventually(written, "the command has begun")
        group.cancel_scope.cancel()
    pid = (await one.fs.read_text("pid")).strip()

    async def dead() -> bool:
        return not (await one.shell(f"kill -0 {pid} 2>/dev/null")).ok

    await eventually(dead, "the command has ended")


@case
async def commands_that_nobody_reads_hold_up_no_other(check: ServiceCheck) -> None:
    """Any number of commands whose output is not taken wait, each for itself."""
    one = await check.workspace()
    async with anyio.create_task_group() as group:
        ready = []
        for _ in range(20):
            done = anyio.Event()
            ready.append(done)

            async def hold(done: anyio.Event = done) -> None:
                async with one.spawn("head", "-c", "3000000", "/dev/zero", grace=0.1):
                    done.set()
                    await anyio.sleep_forever()

            group.start_soon(hold)
        for done in ready:
            await done.wait()
        for number in range(3):
            expect_equal((await one.exec("echo", str(number))).stdout, f"{number}\n", "a command beside them")
        group.cancel_scope.cancel()


@case
async def a_terminal_has_a_size(check: ServiceCheck) -> None:
    """A command on a terminal prints on one stream and is told when the size changes."""
    one = await check.workspace()
    handle = await check.service.spawn(one.id, SpawnRequest(argv=("sh", "-c", "echo on; echo err >&2"), pty=Pty()))
    seen = bytearray()
    streams = set()
    while True:
        try:
            event = await handle.receive()
        except anyio.EndOfStream:
            break
        if isinstance(event, Output):
            seen += event.data
            streams.add(event.stream)
    await handle.resize(30, 100)
    await handle.aclose()
    expect_equal(bytes(seen), b"on\r\nerr\r\n", "what the terminal shows")
    expect_equal(streams, {Stream.STDOUT}, "the streams")


CASES = tuple(each for each in tuple(globals().values()) if isinstance(each, ServiceCase))
