"""Typing, sizes, who controls, and the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import anyio

from nexus.errors import Busy, InvalidArgument, NotController, StdinClosed, TerminalNotFound
from nexus.models.execution import Pty
from nexus.models.terminals import AttachRequest, TerminalResized
from nexus.testing.expecting import expect, expect_equal, expect_error
from nexus.testing.terminal_suite.case import TerminalCase, TerminalCheck, case


@case
async def the_last_size_of_a_storm_counts(check: TerminalCheck) -> None:
    """After many sizes at once the program has the last one, and everybody is told of it."""
    info = await check.sh("while read x; do stty size; done")
    seen = await check.attach(info.id)
    async with anyio.create_task_group() as group:
        for number in range(1, 101):
            group.start_soon(seen.session.resize, 20 + number, 40 + number)
    await seen.session.resize(50, 132)
    await seen.session.write(b"\n")
    await seen.until(b"50 132\r\n")
    sizes = [event.mark for event in seen.events if isinstance(event, TerminalResized)]
    expect(sizes and (sizes[-1].rows, sizes[-1].cols) == (50, 132), f"the last size is told, not {sizes[-1:]}")
    expect(all(a.at_offset <= b.at_offset for a, b in pairwise(sizes)), "sizes are told in order")
    await expect_error(InvalidArgument, lambda: seen.session.resize(0, 80), "a size of no rows")


@case
async def control_is_handed_over(check: TerminalCheck) -> None:
    """There is one controller; whoever takes over types, and the one before looks on."""
    info = await check.sh("while read x; do printf 'got %s.' \"$x\"; done")
    first = await check.attach(info.id, AttachRequest(client="ana"))
    busy = await expect_error(
        Busy, lambda: check.terminals.attach(info.id, AttachRequest(client="ben")), "becoming a second controller"
    )
    expect("ana" in str(busy), f"it is said who controls, not {busy}")
    second = await check.attach(
        info.id, AttachRequest(takeover=True, client="ben", replay="all", size=Pty(rows=40, cols=120))
    )
    expect_equal(first.session.role, "viewer", "the role of the one before")
    await expect_error(NotController, lambda: first.session.write(b"mine\n"), "typing as a viewer")
    await expect_error(NotController, lambda: first.session.resize(10, 10), "sizing as a viewer")
    await second.session.write(b"his\n")
    await first.until(b"got his.")
    now = await check.terminals.get(info.id)
    expect_equal((now.controller, now.viewers, now.size.rows), ("ben", 1, 40), "who controls, who looks, and the size")
    await second.session.detach()
    third = await check.attach(info.id, AttachRequest(client="cleo"))
    await third.session.write(b"hers\n")
    await first.until(b"got hers.")


@case
async def what_is_typed_arrives(check: TerminalCheck) -> None:
    """Bytes arrive in order, also when they are many, and an interrupt reaches the program."""
    info = await check.sh("trap 'printf interrupted; exit 3' INT; printf ready; while :; do sleep 0.05; done")
    seen = await check.attach(info.id)
    await seen.until(b"ready")
    await seen.session.write(b"\x03")
    await seen.until(b"interrupted")
    await seen.to_end()
    await expect_error(NotController, lambda: seen.session.write(b"x"), "typing when it is over")
    late = await check.attach(info.id)
    await expect_error(StdinClosed, lambda: late.session.write(b"x"), "typing when the program has ended")


@case
async def kill_ends_what_ignores_a_hang_up(check: TerminalCheck) -> None:
    """A program that ignores HUP and TERM is killed after the grace, with its children; the terminal is gone."""
    info = await check.sh("trap '' HUP TERM; printf ready; while :; do sleep 0.05; done")
    seen = await check.attach(info.id)
    await seen.until(b"ready")
    killed = await check.terminals.kill(info.id, grace=0.1)
    expect(killed.exit is not None, "how it ended is known")
    await seen.to_end()
    await expect_error(TerminalNotFound, lambda: check.terminals.get(info.id), "asking for one that was killed")


@case
async def kill_lets_a_program_say_goodbye(check: TerminalCheck) -> None:
    """A hang-up comes first, so that a program can save what it has."""
    info = await check.sh("trap 'printf saved; exit 0' HUP; printf ready; while :; do sleep 0.05; done")
    seen = await check.attach(info.id)
    await seen.until(b"ready")
    await check.terminals.kill(info.id, grace=30)
    expect(b"saved" in await seen.to_end(), "what it prints while it ends is given")


CASES: Final[tuple[TerminalCase, ...]] = (
    the_last_size_of_a_storm_counts,
    control_is_handed_over,
    what_is_typed_arrives,
    kill_ends_what_ignores_a_hang_up,
    kill_lets_a_program_say_goodbye,
)
