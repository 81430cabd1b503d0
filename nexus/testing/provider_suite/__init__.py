"""The conformance suite of providers: one case for each promise of :mod:`nexus.abc.provider`.

Commands in the cases are ``sh`` with what POSIX has built in, and ``cat echo head mkdir printf sleep true`` (``stty`` on a terminal,
``id`` where there are users), so that the smallest image will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import anyio

from nexus.testing.expecting import ExpectationFailed
from nexus.testing.provider_suite import (
    capabilities,
    checkpoints,
    commands,
    control,
    hibernation,
    inputs,
    lifecycle,
    services,
    watching,
)
from nexus.testing.provider_suite.case import Check, NotApplicable, ProviderCase, ProviderSubject
from nexus.testing.report import CaseResult, Outcome, Report

PROVIDER_CASES: Final[tuple[ProviderCase, ...]] = (
    *lifecycle.CASES,
    *commands.CASES,
    *inputs.CASES,
    *control.CASES,
    *capabilities.CASES,
    *watching.CASES,
    *services.CASES,
    *checkpoints.CASES,
    *hibernation.CASES,
)
"""Every case, in the order in which the suite runs them."""

MakeSubject: TypeAlias = Callable[[], AbstractAsyncContextManager[ProviderSubject]]
"""Makes a provider under test; entered once for every case, left when the case is over."""

_CLEANUP = 30.0
"""Seconds that a case may take to remove what it made."""


async def check_provider(make: MakeSubject, *, cases: Sequence[ProviderCase] = PROVIDER_CASES) -> Report:
    """Prove that a provider keeps the promises of :mod:`nexus.abc.provider`.

    Needs no test framework::

        report = await check_provider(my_subject)
        print(report)
        report.raise_for_failures()

    Args:
        make: Opens the provider under test.
        cases: Which cases to run, one after the other; all of them when absent.

    Returns:
        A report with one result for each case. A failing case never stops the suite.

    Cancellation: the running case removes its instances, within a bounded time, before the cancellation goes on.
    """
    results = [await run_provider_case(each, make) for each in cases]
    async with make() as subject:
        return Report(subject=subject.provider.name, results=tuple(results))


async def run_provider_case(case: ProviderCase, make: MakeSubject) -> CaseResult:
    """Run one case, for those who want each as a test of their own framework."""
    try:
        async with make() as subject:
            check = Check(subject=subject, info=await subject.provider.probe())
            if obstacle := case.obstacle(check):
                return CaseResult(name=case.name, outcome=Outcome.NOT_APPLICABLE, reason=obstacle)
            await _run(case, check)
    except NotApplicable as exc:
        return CaseResult(name=case.name, outcome=Outcome.NOT_APPLICABLE, reason=str(exc))
    except Exception as exc:  # noqa: BLE001 - whatever a provider raises is a finding, not the end of the suite
        return CaseResult(name=case.name, outcome=Outcome.FAILED, reason=_reason(exc), error=exc)
    return CaseResult(name=case.name, outcome=Outcome.PASSED)


async def _run(case: ProviderCase, check: Check) -> None:
    try:
        with anyio.move_on_after(check.subject.patience) as limit:
            await case.run(check)
        if limit.cancelled_caught:
            raise ExpectationFailed(f"the case did not end within {check.subject.patience:g} s")
    finally:
        with anyio.CancelScope(shield=True), anyio.fail_after(_CLEANUP):
            await check.cleanup.aclose()


def _reason(error: Exception) -> str:
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return _reason(error.exceptions[0])
    return str(error) if isinstance(error, ExpectationFailed) else f"{type(error).__name__}: {error}"


__all__ = ["PROVIDER_CASES", "MakeSubject", "ProviderCase", "ProviderSubject", "check_provider", "run_provider_case"]
