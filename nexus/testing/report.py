"""What a conformance suite found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    """It is about something that this implementation does not claim to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case."""

    name: str
    outcome: Outcome
    reason: str = ""
    """What was expected and what was seen, or why the case is not applicable."""
    error: Exception | None = None
    """What the case raised, with its traceback."""

    def raise_for_failure(self) -> None:
        """Do nothing for a case that passed or is not applicable.

        Raises:
            AssertionError: When it failed; its cause is what the case raised.
        """
        if self.outcome is Outcome.FAILED:
            raise AssertionError(f"{self.name}: {self.reason}") from self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All cases, in the order in which they ran. ``print(report)`` shows a line for each."""

    subject: str
    results: tuple[CaseResult, ...]

    def of(self, outcome: Outcome) -> tuple[CaseResult, ...]:
        """Return the cases that ended so."""
        return tuple(result for result in self.results if result.outcome is outcome)

    @property
    def ok(self) -> bool:
        """Whether no case failed."""
        return not self.of(Outcome.FAILED)

    def raise_for_failures(self) -> None:
        """Do nothing when no case failed.

        Raises:
            AssertionError: When cases failed; it lists them, its cause is the first one's.
        """
        failed = self.of(Outcome.FAILED)
        if failed:
            lines = "\n".join(f"  {result.name}: {result.reason}" for result in failed)
            raise AssertionError(f"{self.subject} fails {len(failed)} of {len(self.results)} cases:\n{lines}") from (
                failed[0].error
            )

    def __str__(self) -> str:
        counts = Counter(result.outcome for result in self.results)
        summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
        lines = [
            f"{result.outcome:<14}  {result.name}" + (f"  ({result.reason})" if result.reason else "")
            for result in self.results
        ]
        return "\n".join([f"{self.subject}: {summary}", *lines])
