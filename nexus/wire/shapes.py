"""Schemas as the tools of other languages read them. Pure.

OpenRPC means JSON Schema draft 7, and what generates code from it makes a type of everything that has a title. So: tuples the way draft 7
has them, and titles of shapes alone, not of their fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import JsonValue

REF: Final = "#/components/schemas/{model}"
_VALUES: Final = frozenset({"default", "const", "enum", "examples"})
"""What holds values, not schemas."""
_NAMED: Final = frozenset({"properties", "patternProperties", "definitions"})
"""What holds schemas by names of their own."""


def name_in(schema: JsonValue) -> str:
    """Return the name of the shape that a schema refers to; empty when it is none."""
    return str(schema.get("$ref", "")).rpartition("/")[2] if isinstance(schema, dict) else ""


def draft7(schema: JsonValue, names: Mapping[str, str]) -> JsonValue:
    """Return a schema of draft 2020-12 as one of draft 7, with other names for the shapes that it refers to.

    Args:
        schema: The schema.
        names: The new name of each shape that gets one.
    """
    if isinstance(schema, list):
        return [draft7(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _keyword(key, value, names) for key, value in schema.items() if key != "title"}
    if "prefixItems" in found:
        found["additionalItems"] = found.pop("items", False)
        found["items"] = found.pop("prefixItems")
    if "$ref" in found and len(found) > 1:  # draft 7 ignores what stands beside a reference
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found


def _keyword(key: str, value: JsonValue, names: Mapping[str, str]) -> JsonValue:
    if key in _VALUES:
        return value
    if key == "$ref":
        old = str(value).rpartition("/")[2]
        return REF.format(model=names.get(old, old))
    if key == "mapping" and isinstance(value, dict):
        return {tag: _keyword("$ref", each, names) for tag, each in value.items()}
    if key in _NAMED and isinstance(value, dict):
        return {name: draft7(each, names) for name, each in value.items()}
    return draft7(value, names)


def reached(schemas: Iterable[JsonValue], shapes: Mapping[str, JsonValue]) -> frozenset[str]:
    """Return the names of all shapes that schemas refer to, and those that these refer to in turn."""
    found: set[str] = set()
    waiting = [name for schema in schemas for name in _references(schema)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(shapes[name])
    return frozenset(found)


def _references(schema: JsonValue) -> Iterator[str]:
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)
    elif isinstance(schema, dict):
        if name := name_in(schema):
            yield name
        for key, each in schema.items():
            if key in _NAMED and isinstance(each, dict):
                yield from _references(list(each.values()))
            elif key not in _VALUES:
                yield from _references(each)


def as_sent(shape: JsonValue) -> JsonValue:
    """Return the schema of a value that the daemon sends: it leaves out no field, and a later one may add some."""
    if not isinstance(shape, dict) or not isinstance(fields := shape.get("properties"), dict):
        return shape
    kept = {key: value for key, value in shape.items() if key != "additionalProperties"}
    return {**kept, "required": list(fields)}
