from __future__ import annotations

import jsonschema  # type: ignore[import-untyped]
import pytest

from nexus.daemon.handlers import all_routes
from nexus.daemon.principal import Scope
from nexus.wire.methods import METHODS, NOTICES
from nexus.wire.methods.table import Effect, KeyedParams
from nexus.wire.openrpc import document


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


def test_the_document_describes_every_parameter_by_name() -> None:
    found = document(version="1.2.3").model_dump(mode="json", by_alias=True)
    methods = {method["name"]: method for method in found["methods"]}

    assert set(methods) == set(METHODS) | set(NOTICES)
    write = {param["name"]: param for param in methods["fs.writeFile"]["params"]}
    assert write["workspace"]["required"]
    assert not write["ifMatch"]["required"]
    for method in methods.values():
        assert method["paramStructure"] == "by-name"
        for param in method["params"]:
            jsonschema.Draft202012Validator.check_schema(param["schema"])


def test_the_document_says_what_is_sent() -> None:
    """What goes over the wire is valid by the schema that other languages are given."""
    found = document(version="1").model_dump(mode="json", by_alias=True)
    schemas = {"components": found["components"]}
    (stat,) = [method["result"]["schema"] for method in found["methods"] if method["name"] == "fs.stat"]
    sent = {"path": "a", "kind": "file", "size": 3, "mtimeMs": 5, "mode": 420, "etag": "e", "target": None}

    validator = jsonschema.Draft202012Validator({**schemas, **stat})
    validator.validate(sent)
    assert not validator.is_valid({**sent, "size": "3"})
