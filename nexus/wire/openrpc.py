"""The table of methods as an OpenRPC document, which clients in other languages are generated from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from nexus.models.base import Model
from nexus.wire.docstrings import DescribedSchema
from nexus.wire.failures import NUMBERS
from nexus.wire.methods import METHODS, NOTICES
from nexus.wire.methods.session import Document
from nexus.wire.methods.table import AnyMethod, Notice, Params
from nexus.wire.shapes import REF, as_sent, draft7, name_in, reached

OPENRPC: Final = "1.3.2"
_OURS: Final = "nexus.wire.methods."
_SHARED: Final = "nexus.wire.methods.table"


def document(methods: Iterable[AnyMethod] | None = None, *, version: str) -> Document:
    """Return the document. It is valid by the OpenRPC meta-schema, and its schemas by draft 7.

    Args:
        methods: Which methods; all of the table when absent.
        version: Ours.
    """
    known = sorted(METHODS.values() if methods is None else methods, key=lambda method: method.name)
    incoming: list[type[Model]] = [method.params for method in known]
    outgoing: list[type[Model]] = [method.result for method in known]
    outgoing += [notice.params for notice in NOTICES.values()]
    given: list[tuple[type[Model], JsonSchemaMode]] = [(model, "validation") for model in dict.fromkeys(incoming)]
    told: list[tuple[type[Model], JsonSchemaMode]] = [(model, "serialization") for model in dict.fromkeys(outgoing)]
    schemas, definitions = models_json_schema(
        [*given, *told], by_alias=True, ref_template=REF, schema_generator=DescribedSchema
    )
    names = {name_in(schemas[method.result, "serialization"]): _name(method) for method in reversed(known)}
    shapes: dict[str, JsonValue] = {
        names.get(name, name): draft7(shape, names) for name, shape in definitions.get("$defs", {}).items()
    }
    asked = {method.name: _params(schemas[method.params, "validation"], names, shapes) for method in known}
    answered = {method.name: draft7(schemas[method.result, "serialization"], names) for method in known}
    noticed = {
        name: _params(schemas[notice.params, "serialization"], names, shapes) for name, notice in NOTICES.items()
    }
    taken = reached(asked.values(), shapes)
    sent = reached([*answered.values(), *noticed.values()], shapes)
    return Document(
        openrpc=OPENRPC,
        info={"title": "Nexus", "version": version, "description": "Development workspaces over a WebSocket."},
        methods=(
            *(_told_of_method(method, asked[method.name], answered[method.name]) for method in known),
            *(_told_of_notice(notice, noticed[name]) for name, notice in sorted(NOTICES.items())),
        ),
        components={
            "schemas": {
                name: as_sent(shapes[name]) if name not in taken else shapes[name] for name in sorted(taken | sent)
            },
            "errors": _errors(),
        },
    )


def _told_of_method(method: AnyMethod, params: list[JsonValue], result: JsonValue) -> dict[str, JsonValue]:
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-name",
        "params": params,
        "result": {"name": "result", "schema": result},
        "x-scope": method.scope,
        "x-effect": str(method.effect),
        "x-progress": method.progress,
    }


def _told_of_notice(notice: Notice[Params], params: list[JsonValue]) -> dict[str, JsonValue]:
    return {
        "name": notice.name,
        "summary": notice.summary,
        "paramStructure": "by-name",
        "params": params,
        "x-notification": "from-daemon",
    }


def _name(method: AnyMethod) -> str:
    """Return what the shape of a result is called: by its method, so that no later method of another group takes its name."""
    name, group = method.result.__name__, method.name.partition(".")[0].capitalize()
    ours = method.result.__module__.startswith(_OURS) and method.result.__module__ != _SHARED
    return f"{group}{name}" if ours and not name.startswith(group) else name


def _params(schema: JsonValue, names: Mapping[str, str], shapes: Mapping[str, JsonValue]) -> list[JsonValue]:
    """Return one descriptor for each field of a model: parameters go by name."""
    shape = shapes.get(name_in(draft7(schema, names)), schema)
    if not isinstance(shape, dict):
        return []
    fields, required = shape.get("properties", {}), shape.get("required", [])
    if not isinstance(fields, dict) or not isinstance(required, list):
        return []
    return [
        {"name": name, **_said_of(field), "required": name in required, "schema": field}
        for name, field in fields.items()
    ]


def _said_of(field: JsonValue) -> dict[str, JsonValue]:
    return {"description": field["description"]} if isinstance(field, dict) and "description" in field else {}


def _errors() -> dict[str, JsonValue]:
    return {code: {"code": number, "message": code, "data": {"code": code}} for code, number in sorted(NUMBERS.items())}
