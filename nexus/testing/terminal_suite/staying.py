"""What stays of a terminal while its workspace sleeps."""

from __future__ import annotations

from typing import Final

from nexus.models.terminals import AttachRequest, TerminalState
from nexus.testing.expecting import eventually, expect, expect_equal
from nexus.testing.provider_suite.case import NotApplicable
from nexus.testing.terminal_suite.case import TerminalCase, TerminalCheck, case


@case
async def a_pause_changes_nothing(check: TerminalCheck) -> None:
    """While its workspace is paused a terminal stays, with who is attached; afterwards its program goes on where it was."""
    pause, resume = check.subject.pause, check.subject.resume
    if pause is None or resume is None:
        raise NotApplicable("the workspace cannot be paused")
    info = await check.sh("printf before; read x; printf 'and after'; read x")
    seen = await check.attach(info.id)
    await seen.until(b"before")
    await pause()
    expect_equal((await check.terminals.get(info.id)).state, TerminalState.RUNNING, "the state while it is paused")
    late = await check.attach(info.id, AttachRequest(role="viewer", replay="all"))
    await late.until(b"before")
    await resume()
    await seen.session.write(b"\n")
    await seen.until(b"and after")
    await late.until(b"and after")


@case
async def a_stop_keeps_what_was_shown(check: TerminalCheck) -> None:
    """After a stop and a start the terminal is there under its id, in its folder, with what it showed, and says that it is new."""
    stop, start = check.subject.stop, check.subject.start
    if stop is None or start is None:
        raise NotApplicable("the workspace cannot be stopped")
    info = await check.open("sh", cwd="inner", name="mine")
    seen = await check.attach(info.id)
    await seen.session.write(b"printf 'sho%s\\n' wn\n")
    await seen.until(b"shown")
    await stop()
    kept = await check.terminals.get(info.id)
    expect_equal((kept.state, kept.name), (TerminalState.KEPT, "mine"), "state and name while it is stopped")
    look = await check.attach(info.id, AttachRequest(role="viewer", replay="all"))
    await look.until(b"shown")
    await start()

    async def back() -> bool:
        return (await check.terminals.get(info.id)).state is TerminalState.RUNNING

    await eventually(back, "it is opened again", within=30)
    await seen.until(b"[nexus: this is a new shell")
    await seen.session.write(b"pwd\n")
    await seen.until(b"/inner\r\n")
    await look.until(b"/inner\r\n")
    expect((await check.terminals.get(info.id)).restored, "it is said that it was restored")


@case
async def a_command_is_not_run_twice(check: TerminalCheck) -> None:
    """What was not said to be fit for it is not run again after a stop: a shell takes its place, and says so."""
    stop, start = check.subject.stop, check.subject.start
    if stop is None or start is None:
        raise NotApplicable("the workspace cannot be stopped")
    once = await check.sh("printf ran >>times; read x")
    again = await check.sh("printf 'run again'; read x", rerun=True)
    seen, other = await check.attach(once.id), await check.attach(again.id)
    await other.until(b"run again")

    async def ran() -> bool:
        return (await check.terminals.get(once.id)).state is TerminalState.RUNNING

    await eventually(ran, "it runs")
    await stop()
    await start()
    await seen.until(b"was not run again")
    await seen.session.write(b"cat times; printf '.%s\\n' end\n")
    await seen.until(b".end")
    expect(b"ranran" not in seen.data, "it was run once")
    await other.until(b"was run again")
    count = bytes(other.data).count(b"run again")
    expect(count >= 1, "what may be run again is")


CASES: Final[tuple[TerminalCase, ...]] = (
    a_pause_changes_nothing,
    a_stop_keeps_what_was_shown,
    a_command_is_not_run_twice,
)
