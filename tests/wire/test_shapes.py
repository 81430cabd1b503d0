from __future__ import annotations

from pydantic import JsonValue

from nexus.wire.shapes import as_sent, draft7, reached

X: dict[str, JsonValue] = {"$ref": "#/components/schemas/X"}
Y: dict[str, JsonValue] = {"$ref": "#/components/schemas/Y"}


def test_a_field_may_have_the_name_of_a_keyword() -> None:
    fields: dict[str, JsonValue] = {"title": {"type": "string", "title": "Title"}, "default": X, "prefixItems": Y}

    assert draft7({"title": "Shape", "properties": fields}, {}) == {
        "properties": {"title": {"type": "string"}, "default": X, "prefixItems": Y}
    }
    assert reached([{"properties": fields}], {"X": {}, "Y": {}}) == {"X", "Y"}


def test_values_are_left_alone() -> None:
    schema: JsonValue = {"default": {"title": "kept", "$ref": "#/components/schemas/Z"}, "enum": [{"title": "kept"}]}

    assert draft7(schema, {"Z": "other"}) == schema
    assert reached([schema], {}) == frozenset()


def test_tuples_and_references_are_as_draft_7_has_them() -> None:
    assert draft7({"prefixItems": [X, {"type": "null"}]}, {"X": "Other"}) == {
        "items": [{"$ref": "#/components/schemas/Other"}, {"type": "null"}],
        "additionalItems": False,
    }
    assert draft7({"prefixItems": [X], "items": Y}, {}) == {"items": [X], "additionalItems": Y}
    assert draft7({**X, "default": 3}, {}) == {"allOf": [X], "default": 3}
    tagged: JsonValue = {"discriminator": {"mapping": {"x": "#/components/schemas/X"}, "propertyName": "kind"}}
    assert draft7(tagged, {"X": "Other"}) == {
        "discriminator": {"mapping": {"x": "#/components/schemas/Other"}, "propertyName": "kind"}
    }


def test_shapes_are_followed_in_circles() -> None:
    shapes: dict[str, JsonValue] = {"X": {"items": Y}, "Y": {"anyOf": [X, {"type": "null"}]}, "Z": {}}

    assert reached([{"properties": {"a": X}}], shapes) == {"X", "Y"}


def test_what_is_sent_is_complete_and_open() -> None:
    shape: JsonValue = {"properties": {"a": {}, "b": {}}, "required": ["a"], "additionalProperties": False}

    assert as_sent(shape) == {"properties": {"a": {}, "b": {}}, "required": ["a", "b"]}
    assert as_sent({"enum": ["a"]}) == {"enum": ["a"]}
