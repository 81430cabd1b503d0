"""The document that other languages are given: valid by its own meta-schema, and by what its readers know of JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT7

from nexus.wire.methods import METHODS, NOTICES
from nexus.wire.openrpc import document

DRAFT = jsonschema.Draft7Validator


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return document(version="1.2.3").model_dump(mode="json", by_alias=True)


@pytest.fixture(scope="module")
def methods(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in found["methods"]}


def test_it_is_valid_by_the_meta_schema(found: dict[str, Any]) -> None:
    meta = json.loads((Path(__file__).parent / "openrpc-meta-schema.json").read_text())
    shapes = Registry().with_resource(meta["$schema"].rstrip("/"), DRAFT7.create_resource(DRAFT.META_SCHEMA))
    validator = DRAFT({**meta, "$schema": DRAFT.META_SCHEMA["$schema"]}, registry=shapes)

    assert [error.message for error in validator.iter_errors(found)] == []
    assert not validator.is_valid({**found, "methods": [{"name": "a"}]}), "the validator looks"


def test_every_method_and_notification_is_in_it(methods: dict[str, dict[str, Any]]) -> None:
    assert set(methods) == set(METHODS) | set(NOTICES)
    assert {name for name, method in methods.items() if "result" not in method} == set(NOTICES), (
        "OpenRPC's way to say so"
    )
    assert all(method["paramStructure"] == "by-name" for method in methods.values())


def test_parameters_say_which_have_to_be_given(methods: dict[str, dict[str, Any]]) -> None:
    write = {param["name"]: param for param in methods["fs.writeFile"]["params"]}

    assert write["workspace"]["required"]
    assert not write["ifMatch"]["required"]


def test_every_reference_leads_somewhere_and_every_shape_is_referred_to(found: dict[str, Any]) -> None:
    shapes = set(found["components"]["schemas"])
    text = json.dumps(found)

    referred = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred == shapes


def test_names_are_those_of_the_protocol_not_of_python(found: dict[str, Any]) -> None:
    """And a name stays when another group of methods gets a shape of the same name."""
    shapes = found["components"]["schemas"]

    assert [name for name in shapes if "__" in name or "-" in name] == []
    assert {"TerminalAttached", "StreamAttached", "FsStat", "WorkspaceInfo", "Nothing"} <= set(shapes)


def test_schemas_are_draft_7(found: dict[str, Any], methods: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(found)

    assert '"prefixItems"' not in text
    assert '"$defs"' not in text
    gap = found["components"]["schemas"]["TerminalAttached"]["properties"]["gap"]["anyOf"][0]
    assert gap["items"] == [{"type": "integer"}, {"type": "integer"}]
    assert gap["additionalItems"] is False
    (size,) = [param["schema"] for param in methods["terminal.open"]["params"] if param["name"] == "size"]
    assert size["allOf"] == [{"$ref": "#/components/schemas/TerminalSize"}], "nothing stands beside a reference"
    assert size["default"] == {"rows": 24, "cols": 80, "term": "xterm-256color"}


def test_it_says_what_is_sent(found: dict[str, Any], methods: dict[str, dict[str, Any]]) -> None:
    """No field is left out, and a field that a later release adds breaks nobody."""
    stat = methods["fs.stat"]["result"]["schema"]
    sent = {"path": "a", "kind": "file", "size": 3, "mtimeMs": 5, "mode": 420, "etag": "e", "target": None}

    validator = DRAFT({"components": found["components"], "allOf": [stat]})
    validator.validate(sent)
    validator.validate({**sent, "later": True})
    assert not validator.is_valid({**sent, "size": "3"})
    assert not validator.is_valid({key: value for key, value in sent.items() if key != "target"})


def test_fields_say_what_they_mean_in_the_words_of_their_source(
    found: dict[str, Any], methods: dict[str, dict[str, Any]]
) -> None:
    start = {param["name"]: param for param in methods["exec.start"]["params"]}
    shapes = found["components"]["schemas"]

    assert start["argv"]["description"] == "The program and its arguments; no shell is involved."
    assert start["workspace"]["description"] == "Its name or id.", "what a base says holds for its fields"
    assert "description" not in start["cwd"]
    assert shapes["ExecExit"]["properties"]["exitCode"]["description"] == "`None` when its end was not seen."
    assert shapes["WorkspaceInfo"]["properties"]["degraded"]["description"], "shapes of other modules too"
