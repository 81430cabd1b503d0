"""What a terminal's program prints, and what everybody sees of it."""

from __future__ import annotations

from typing import Final

import anyio

from nexus.models.execution import Pty
from nexus.models.terminals import AttachRequest, TerminalExited, TerminalGap, TerminalState
from nexus.testing.expecting import eventually, expect, expect_equal
from nexus.testing.terminal_suite.case import TerminalCase, TerminalCheck, case


@case
async def size_is_set_before_the_program_runs(check: TerminalCheck) -> None:
    """A program that asks for its size at once gets the one that was asked for."""
    info = await check.sh("stty size", size=Pty(rows=31, cols=97))
    seen = await check.attach(info.id)
    expect(
        (await seen.to_end()).startswith(b"31 97\r\n"),
        f"the program sees 31 rows and 97 columns, not {bytes(seen.data)!r}",
    )


@case
async def exit_comes_last_and_once(check: TerminalCheck) -> None:
    """The exit follows the last byte, holds the status, and is what wait returns."""
    info = await check.sh("printf goodbye; exit 7")
    seen = await check.attach(info.id)
    expect(b"goodbye" in await seen.to_end(), "what is printed at the end is given")
    last = seen.events[-1]
    expect_equal(last.exit.exit_code if isinstance(last, TerminalExited) else None, 7, "the status in the exit")
    expect_equal((await check.terminals.wait(info.id)).exit_code, 7, "what wait returns")
    expect_equal((await check.terminals.get(info.id)).state, TerminalState.EXITED, "the state")


@case
async def two_clients_see_the_same(check: TerminalCheck) -> None:
    """Two attachments get the same bytes at the same offsets, however differently they read."""
    info = await check.sh(f"read x; {many_lines(300)}")
    first = await check.attach(info.id)
    second = await check.attach(info.id, AttachRequest(role="viewer", replay="all"))
    await first.session.write(b"\n")
    await first.to_end()
    await second.to_end()
    expect_equal(second.begin, first.begin, "where both begin")
    expect_equal(bytes(second.data), bytes(first.data), "what both have read")
    expect(b"line 299 of many" in first.data, "all was printed")


@case
async def a_slow_viewer_never_holds_up_the_program(check: TerminalCheck) -> None:
    """A viewer that does not read loses what was overwritten, is told of it, and goes on at the beginning of a line."""
    info = await check.sh(_flood(check), scrollback=64 * 1024)
    viewer = await check.attach(info.id, AttachRequest(role="viewer"))
    controller = await check.attach(info.id)
    await controller.session.write(b"\n")
    await controller.until(b"the very end")
    await viewer.until(b"the very end")
    gaps = [event for event in viewer.events if isinstance(event, TerminalGap)]
    expect(gaps, "a viewer that missed bytes is told of a gap")
    expect(
        viewer.data.startswith(_LINE[:8]),
        f"after a gap it goes on at the beginning of a line, not at {bytes(viewer.data[:30])!r}",
    )
    expect_equal(viewer.begin + len(viewer.data), controller.begin + len(controller.data), "the offset at the end")


@case
async def a_controller_that_does_not_read_slows_the_program_down(check: TerminalCheck) -> None:
    """What a controller does not read is not printed over: the program waits, and not a byte is lost."""
    info = await check.sh(_flood(check), scrollback=64 * 1024)
    controller = await check.attach(info.id)
    await controller.session.write(b"\n")

    async def printing() -> bool:
        return (await check.terminals.get(info.id)).newest > 0

    await eventually(printing, "the program prints")
    whole = await controller.until(b"the very end")
    expect(not any(isinstance(event, TerminalGap) for event in controller.events), "no byte is lost to its controller")
    expect(len(whole) >= check.subject.bulk, "all of it comes")


@case
async def nothing_is_lost_to_a_cancelled_receive(check: TerminalCheck) -> None:
    """A receive that is cancelled takes nothing with it."""
    info = await check.sh(f"read x; {many_lines(100)}; read x")
    seen = await check.attach(info.id)
    await seen.session.write(b"\n")
    while b"line 99 " not in seen.data:
        with anyio.CancelScope() as scope:
            scope.cancel()
            seen.take(await seen.session.receive())
        seen.take(await seen.session.receive())
    expect_equal(bytes(seen.data).count(b"line "), 100, "lines that were read")


@case
async def titles_and_folders_are_told(check: TerminalCheck) -> None:
    """A title and a folder that the program tells are in the info, without what does not show."""
    info = await check.sh("printf '\\033]2;a \\tt\\007\\033]7;file://there/srv/w%%20x\\033\\\\'; read x")
    seen = await check.attach(info.id)

    async def told() -> bool:
        now = await check.terminals.get(info.id)
        return (now.title, now.cwd) == ("a t", "/srv/w x")

    await eventually(told, "title and folder are known")
    await seen.session.detach()


def many_lines(number: int) -> str:
    """Return a piece of script that prints that many lines: ``line 0 of many`` and so on."""
    return f"printf 'line %s of many\\n' {' '.join(map(str, range(number)))}"


_LINE: Final = b"0123456789" * 20


def _flood(check: TerminalCheck) -> str:
    hundred = f"printf '{_LINE.decode()}%s\\n' {' '.join(['x'] * 100)}"
    rounds = check.subject.bulk // (100 * len(_LINE)) + 1
    return f"read x; {'; '.join([hundred] * rounds)}; printf 'the very end'; read x"


CASES: Final[tuple[TerminalCase, ...]] = (
    size_is_set_before_the_program_runs,
    exit_comes_last_and_once,
    two_clients_see_the_same,
    a_slow_viewer_never_holds_up_the_program,
    a_controller_that_does_not_read_slows_the_program_down,
    nothing_is_lost_to_a_cancelled_receive,
    titles_and_folders_are_told,
)
