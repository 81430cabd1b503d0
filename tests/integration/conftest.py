"""A manager on each backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.workbench import Bench, end, make_bench


@pytest.fixture(params=["mock", "local", pytest.param("docker", marks=pytest.mark.docker)])
async def bench(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """Each backend in turn; afterwards everything is destroyed and nothing may be left."""
    made = make_bench(request.param, repository, tmp_path, request)
    yield made
    await end(made)
