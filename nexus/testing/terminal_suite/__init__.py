"""The conformance suite of terminals: one case for each promise of :mod:`nexus.abc.terminals`.

Programs in the cases are ``sh`` with what POSIX has built in, and ``cat printf sleep stty``, so that the smallest image will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import anyio

from nexus.testing.expecting import ExpectationFailed
from nexus.testing.provider_suite.case import NotApplicable
from nexus.testing.report import CaseResult, Outcome, Report
from nexus.testing.terminal_suite import attaching, controlling, output, staying
from nexus.testing.terminal_suite.case import TerminalCase, TerminalCheck, TerminalSubject

TERMINAL_CASES: Final[tuple[TerminalCase, ...]] = (
    *output.CASES,
    *attaching.CASES,
    *controlling.CASES,
    *staying.CASES,
)
"""Every case, in the order in which the suite runs them."""

MakeTerminals: TypeAlias = Callable[[], AbstractAsyncContextManager[TerminalSubject]]
"""Gives the terminals of a running workspace; entered once for every case, left when the case is over."""

_CLEANUP = 30.0
"""Seconds that a case may take to end what it opened."""


async def check_terminals(make: MakeTerminals, *, cases: Sequence[TerminalCase] = TERMINAL_CASES) -> Report:
    """Prove that terminals keep the promises of :mod:`nexus.abc.terminals`. Needs no test framework.

    Args:
        make: Gives the terminals under test.
        cases: Which cases to run, one after the other; all of them when absent.

    Returns:
        A report with one result for each case. A failing case never stops the suite.
    """
    results = [await run_terminal_case(each, make) for each in cases]
    return Report(subject="terminals", results=tuple(results))


async def run_terminal_case(case: TerminalCase, make: MakeTerminals) -> CaseResult:
    """Run one case, for those who want each as a test of their own framework."""
    try:
        async with make() as subject:
            await _run(case, TerminalCheck(subject=subject))
    except NotApplicable as error:
        return CaseResult(name=case.name, outcome=Outcome.NOT_APPLICABLE, reason=str(error))
    except Exception as error:  # noqa: BLE001 - whatever comes is a finding, not the end of the suite
        reason = str(error) if isinstance(error, ExpectationFailed) else f"{type(error).__name__}: {error}"
        return CaseResult(name=case.name, outcome=Outcome.FAILED, reason=reason, error=error)
    return CaseResult(name=case.name, outcome=Outcome.PASSED)


async def _run(case: TerminalCase, check: TerminalCheck) -> None:
    try:
        with anyio.move_on_after(check.subject.patience) as limit:
            await case.run(check)
        if limit.cancelled_caught:
            raise ExpectationFailed(f"the case did not end within {check.subject.patience:g} s")
    finally:
        with anyio.CancelScope(shield=True), anyio.fail_after(_CLEANUP):
            await check.clean_up()


__all__ = ["TERMINAL_CASES", "MakeTerminals", "TerminalCase", "TerminalSubject", "check_terminals", "run_terminal_case"]
