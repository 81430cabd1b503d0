"""The table of everything that was killed, printed at the end of a run; tests on other workers are in it too."""

from __future__ import annotations

import pytest

KEY = "killed"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows: list[tuple[str, str, str, int]] = [
        tuple(row)
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in getattr(report, "user_properties", ())
        if key == KEY and getattr(report, "when", "") == "teardown"
        for row in value
    ]
    if not rows:
        return
    terminalreporter.section("killed half-way: operation, where, what became of it")
    widths = [max(len(str(row[column])) for row in rows) for column in range(3)]
    for operation, step, outcome, count in sorted(rows):
        terminalreporter.write_line(
            f"{operation:<{widths[0]}}  {step:<{widths[1]}}  {outcome:<{widths[2]}}  {count:>4}"
        )
    terminalreporter.write_line(f"{sum(row[3] for row in rows)} kills")
