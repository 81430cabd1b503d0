"""The example of a provider keeps the promises that its page says it keeps, and breaks those that it says it breaks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples import custom_provider
from nexus.testing import Outcome

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "write-a-provider.md"
BROKEN = {"a-missing-program-is-an-error", "a-program-that-cannot-be-executed"}


def test_the_example_runs_commands_with_a_lower_priority(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.custom_provider", str(repository)],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["backend", "nice", "niceness", str(min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19))]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_the_example_breaks_the_promises_that_its_page_names(tmp_path: Path) -> None:
    report = await custom_provider.check(tmp_path)

    assert {result.name for result in report.of(Outcome.FAILED)} == BROKEN, str(report)
    assert all(name in PAGE.read_text() for name in BROKEN)
    assert len(report.of(Outcome.PASSED)) > 50


def test_the_page_shows_the_example_as_it_is() -> None:
    source = (ROOT / "examples" / "custom_provider.py").read_text()
    blocks = PAGE.read_text().split("```python\n")[1:]

    assert len(blocks) >= 3
    for block in blocks:
        assert block.partition("```")[0].strip() in source
