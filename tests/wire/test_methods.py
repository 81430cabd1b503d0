from __future__ import annotations

import pytest

from nexus.daemon.handlers import all_routes
from nexus.daemon.principal import Scope
from nexus.wire.methods import METHODS
from nexus.wire.methods.table import Effect, KeyedParams


def test_everything_in_the_table_is_carried_out_and_nothing_else() -> None:
    assert {method.name for method in all_routes().methods} == set(METHODS) - {"initialize"}


@pytest.mark.parametrize("name", METHODS)
def test_a_line_of_the_table_makes_sense(name: str) -> None:
    method = METHODS[name]

    assert name == "initialize" or name.count(".") == 1
    assert method.scope is None or Scope(method.scope)
    assert method.summary.endswith(".")
    assert (method.effect is Effect.KEYED) <= issubclass(method.params, KeyedParams)
    assert method.effect is not Effect.READ or not issubclass(method.params, KeyedParams)
