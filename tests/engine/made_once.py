"""Images are made once in a run, by the worker that needs them first; the others wait, and find them on the engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> str:
    """Return what ``make`` returns, in this process or in another worker of the same run.

    Args:
        factory: Where this worker's folders are.
        name: What is made.
        make: Makes it, in the empty folder that it is given. Where it skips, every worker asks for itself.
    """
    own = factory.getbasetemp()
    run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    told = run / f"{name}.made"
    with FileLock(run / f"{name}.lock"):
        if not told.exists():
            told.write_text(make(factory.mktemp(name)))
        return told.read_text()
