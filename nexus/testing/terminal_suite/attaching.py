"""Attaching, detaching, going on where one was."""

from __future__ import annotations

from typing import Final

import anyio

from nexus.errors import TerminalNotFound
from nexus.models.ids import TerminalId
from nexus.models.terminals import SOFT_RESET, AttachRequest, TerminalState
from nexus.testing.expecting import eventually, expect, expect_equal, expect_error
from nexus.testing.terminal_suite.case import TerminalCase, TerminalCheck, case
from nexus.testing.terminal_suite.output import many_lines


@case
async def a_terminal_outlives_its_clients(check: TerminalCheck) -> None:
    """When everybody has detached the program runs on, and who comes later gets what was printed meanwhile."""
    info = await check.sh("printf 'before '; read x; printf 'after '; read x")
    seen = await check.attach(info.id)
    await seen.until(b"before ")
    await seen.session.write(b"\n")
    offset = await seen.session.detach()
    expect_equal(await seen.session.detach(), offset, "the offset when detaching twice")
    again = await check.attach(info.id, AttachRequest(since=offset))
    expect_equal(again.session.point.start, offset, "where it goes on")
    expect_equal(again.session.point.prefix, b"", "what a screen needs that is just there")
    await again.until(b"after ")
    expect(b"before" not in again.data, "nothing comes twice")
    await check.terminals.get(info.id)


@case
async def a_detached_receive_ends(check: TerminalCheck) -> None:
    """Detaching ends a receive that waits."""
    info = await check.sh("read x")
    seen = await check.attach(info.id)

    async def follow() -> None:
        try:
            while True:
                await seen.session.receive()
        except anyio.EndOfStream:
            return

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await anyio.lowlevel.checkpoint()
        await seen.session.detach()


@case
async def what_was_dropped_is_told(check: TerminalCheck) -> None:
    """Attaching at an offset that is no longer kept tells the gap, and begins at a line after a soft reset."""
    info = await check.sh(f"{many_lines(400)}; printf end; read x", scrollback=1000)
    first = await check.attach(info.id, AttachRequest(replay="all"))
    await first.until(b"end")
    late = await check.attach(info.id, AttachRequest(since=5, role="viewer"))
    point = late.session.point
    expect_equal(point.gap, (5, point.start), "the gap")
    expect(point.start >= point.oldest, "what is given is kept")
    expect(point.prefix.startswith(SOFT_RESET), "a screen is reset first")
    await late.until(b"end")
    expect(late.data.startswith(b"line "), f"it begins at a line, not at {bytes(late.data[:20])!r}")


@case
async def each_replay_begins_where_it_says(check: TerminalCheck) -> None:
    """All of what is kept, its tail, or only what comes."""
    info = await check.sh("printf 'one\\ntwo\\n'; read x; printf three; read x")
    seen = await check.attach(info.id)
    await seen.until(b"two\r\n")
    whole = await check.attach(info.id, AttachRequest(replay="all", role="viewer"))
    tail = await check.attach(info.id, AttachRequest(replay="tail", role="viewer"))
    none = await check.attach(info.id, AttachRequest(replay="none", role="viewer"))
    expect_equal(whole.begin, 0, "where all begins")
    expect_equal(tail.begin, 0, "where a tail begins that holds everything")
    expect_equal(none.begin, seen.session.offset, "where what comes begins")
    await seen.session.write(b"\n")
    for each in (whole, tail, none):
        await each.until(b"three")
    expect(b"two" not in none.data, "only what comes")


@case
async def terminals_are_listed_and_found(check: TerminalCheck) -> None:
    """A terminal is listed with its name, and can be renamed; one that is not there is an error of its own."""
    first = await check.sh("read x", name="the first")
    second = await check.sh("read x")
    listed = await check.terminals.list()
    expect_equal([info.id for info in listed][-2:], [first.id, second.id], "what is listed, the oldest first")
    expect_equal(listed[-2].name, "the first", "the name")
    expect_equal(listed[-1].name, "sh", "the name where none was given")
    renamed = await check.terminals.rename(second.id, "the second")
    expect_equal(renamed.name, "the second", "the new name")
    nobody = TerminalId("tm_0000000000000000")
    await expect_error(TerminalNotFound, lambda: check.terminals.get(nobody), "asking for one that is not there")
    await expect_error(TerminalNotFound, lambda: check.terminals.attach(nobody), "attaching to one that is not there")


@case
async def one_that_ended_is_forgotten_in_time(check: TerminalCheck) -> None:
    """Once its time is over and nobody is attached, a terminal whose program has ended is no longer there."""
    info = await check.sh("read x", keep_alive=0)
    seen = await check.attach(info.id)
    await seen.session.write(b"\n")
    await seen.to_end()

    async def gone() -> bool:
        return all(each.id != info.id for each in await check.terminals.list())

    await eventually(gone, "it is forgotten", within=30)
    kept = await check.sh("exit 0", keep_alive=300)
    await check.terminals.wait(kept.id)
    expect_equal((await check.terminals.get(kept.id)).state, TerminalState.EXITED, "the state of one that is kept")


CASES: Final[tuple[TerminalCase, ...]] = (
    a_terminal_outlives_its_clients,
    a_detached_receive_ends,
    what_was_dropped_is_told,
    each_replay_begins_where_it_says,
    terminals_are_listed_and_found,
    one_that_ended_is_forgotten_in_time,
)
