"""What every test that kills works with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.killing import Nursery, Table, nursery_for
from tests.faults.table import KEY


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with nursery_for() as nursery:
        yield nursery


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """What became of each kill; printed when all tests are done."""
    table = Table()
    yield table
    request.node.user_properties.append((KEY, table.as_property()))
