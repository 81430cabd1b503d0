"""The conformance suite of workspace services: one case for each promise of :mod:`nexus.abc.service`.

It runs against a manager in process and against the client of a daemon, and they have to be the same to a program. Commands in the cases
are ``sh`` with what POSIX has built in, and ``cat echo head printf sleep``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import anyio

from nexus.testing.expecting import ExpectationFailed
from nexus.testing.report import CaseResult, Outcome, Report
from nexus.testing.service_suite import commands, files, happening, life
from nexus.testing.service_suite.case import ServiceCase, ServiceCheck, ServiceSubject

SERVICE_CASES: Final[tuple[ServiceCase, ...]] = (*life.CASES, *commands.CASES, *files.CASES, *happening.CASES)
"""Every case, in the order in which the suite runs them."""

MakeService: TypeAlias = Callable[[], AbstractAsyncContextManager[ServiceSubject]]
"""Opens a service under test on a repository of its own; entered once for every case, left when the case is over."""


async def check_service(make: MakeService, *, cases: Sequence[ServiceCase] = SERVICE_CASES) -> Report:
    """Prove that a service keeps the promises of :mod:`nexus.abc.service`. Needs no test framework.

    Args:
        make: Opens the service under test.
        cases: Which cases to run, one after the other; all of them when absent.

    Returns:
        A report with one result for each case. A failing case never stops the suite.
    """
    results = [await run_service_case(each, make) for each in cases]
    async with make() as subject:
        return Report(subject=subject.name, results=tuple(results))


async def run_service_case(case: ServiceCase, make: MakeService) -> CaseResult:
    """Run one case, for those who want each as a test of their own framework."""
    try:
        async with make() as subject:
            with anyio.move_on_after(subject.patience) as limit:
                await case.run(ServiceCheck(subject))
            if limit.cancelled_caught:
                raise ExpectationFailed(f"the case did not end within {subject.patience:g} s")
    except Exception as error:  # noqa: BLE001 - whatever a service raises is a finding, not the end of the suite
        return CaseResult(name=case.name, outcome=Outcome.FAILED, reason=_reason(error), error=error)
    return CaseResult(name=case.name, outcome=Outcome.PASSED)


def _reason(error: Exception) -> str:
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return _reason(error.exceptions[0])
    return str(error) if isinstance(error, ExpectationFailed) else f"{type(error).__name__}: {error}"


__all__ = ["SERVICE_CASES", "MakeService", "ServiceCase", "ServiceSubject", "check_service", "run_service_case"]
